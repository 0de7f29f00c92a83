//! Why no answer came, named from what hyper, rustls and the system say.

use std::error::Error;
use std::io;

/// Why no answer came. The words are `error.type` on the attempt's span (TELEMETRY 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendFault {
    /// The host's name has no address.
    #[error("dns_error")]
    Dns,
    /// Nobody listens there.
    #[error("connection_refused")]
    Refused,
    /// Connecting took longer than `connect_timeout`.
    #[error("connect_timeout")]
    ConnectTimeout,
    /// The TLS handshake failed, or the certificate does not fit.
    #[error("tls_error")]
    Tls,
    /// Connecting failed otherwise.
    #[error("connect_error")]
    Connect,
    /// The connection ended before the answer's head.
    #[error("connection_reset")]
    Reset,
    /// A pooled connection had ended when the request was sent on it: not one byte of an answer came.
    #[error("stale_connection")]
    Stale,
    /// The answer's head took longer than `first_byte_timeout`.
    #[error("first_byte_timeout")]
    FirstByteTimeout,
    /// The answer is not HTTP.
    #[error("invalid_response")]
    InvalidResponse,
    /// The path cannot be asked of this upstream.
    #[error("unaddressable")]
    Unaddressable,
    /// The client's own body broke off while it was streamed through.
    #[error("request_body_broken")]
    RequestBody,
}

impl SendFault {
    /// Whether the upstream surely did not begin to work on the request.
    #[must_use]
    pub const fn is_connect(self) -> bool {
        match self {
            Self::Dns | Self::Refused | Self::ConnectTimeout | Self::Tls | Self::Connect => true,
            Self::Reset
            | Self::Stale
            | Self::FirstByteTimeout
            | Self::InvalidResponse
            | Self::Unaddressable
            | Self::RequestBody => false,
        }
    }

    /// Whether the whole request may have reached the upstream, which may have worked on it and bill it.
    #[must_use]
    pub const fn may_have_worked(self) -> bool {
        matches!(self, Self::Reset | Self::FirstByteTimeout | Self::InvalidResponse)
    }

    /// Whether it was time that ran out.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::FirstByteTimeout)
    }
}

/// Names what went wrong on the way to an answer; what says nothing of itself is `otherwise`.
pub(super) fn name_fault(fault: &(dyn Error + 'static), otherwise: SendFault) -> SendFault {
    let mut cause = Some(fault);
    let mut named = otherwise;
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            named = name_io(io, named);
        } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            named = name_hyper(hyper, named);
        } else if error.downcast_ref::<rustls::Error>().is_some() {
            return SendFault::Tls;
        } else if error.to_string().contains("dns error") {
            return SendFault::Dns;
        }
        cause = error.source();
    }
    named
}

fn name_io(io: &io::Error, otherwise: SendFault) -> SendFault {
    match io.kind() {
        io::ErrorKind::ConnectionRefused => SendFault::Refused,
        io::ErrorKind::TimedOut if otherwise.is_connect() => SendFault::ConnectTimeout,
        // rustls hands its own errors through io::Error
        io::ErrorKind::InvalidData if otherwise.is_connect() => SendFault::Tls,
        // what an io::Error wraps is not among its sources
        _ => match io.get_ref().map(|inner| (inner.downcast_ref::<io::Error>(), inner.is::<rustls::Error>()))
        {
            Some((Some(inner), _)) => name_io(inner, otherwise),
            Some((None, true)) => SendFault::Tls,
            Some((None, false)) | None => otherwise,
        },
    }
}

fn name_hyper(fault: &hyper::Error, otherwise: SendFault) -> SendFault {
    if fault.is_parse() {
        SendFault::InvalidResponse
    } else if fault.is_user() {
        SendFault::RequestBody
    } else {
        otherwise
    }
}

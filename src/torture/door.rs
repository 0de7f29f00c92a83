//! Where a gateway listens and who may ask there.

use std::net::{SocketAddr, ToSocketAddrs as _};

use super::TortureFault;
use super::ask::Ask;

/// The data listener of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    host: String,
    /// What stands before `/v1/`.
    prefix: String,
}

/// Somebody with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) team: String,
    pub(super) key: String,
    pub(super) secret: String,
}

impl Door {
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), prefix: String::new() }
    }

    /// Reads a base URL: `http://host:port`, with or without a path and `/v1`.
    pub(super) fn read(url: &str) -> Result<Self, TortureFault> {
        let fault = |why: &str| TortureFault::Url { url: url.into(), why: why.into() };
        let rest = url.strip_prefix("http://").ok_or_else(|| fault("only http:// is spoken here"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = path.trim_end_matches('/');
        let prefix = prefix.strip_suffix("v1").unwrap_or(prefix).trim_end_matches('/');
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = with_port.to_socket_addrs().map_err(|error| fault(&error.to_string()))?.next();
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Self { address: address.ok_or_else(|| fault("no such host"))?, host: host.into(), prefix })
    }

    /// The same listener behind another address.
    pub(super) fn behind(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// A request as it stands on the wire.
    pub(super) fn request(&self, ask: &Ask, caller: &Caller) -> Vec<u8> {
        let body = ask.body();
        let run = if ask.run.is_empty() { String::new() } else { format!("x-tollgate-run: {}\r\n", ask.run) };
        let mut bytes = format!(
            "POST {}{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nanthropic-version: 2023-06-01\r\n\
             x-tollgate-session: {}\r\n{run}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.prefix,
            ask.operation.path(),
            self.host,
            caller.secret,
            ask.mark,
            body.len(),
        )
        .into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_read_with_and_without_its_path() {
        let prefix = |url: &str| Door::read(url).map(|door| door.prefix).map_err(|fault| fault.to_string());
        assert_eq!(prefix("http://127.0.0.1:4000"), Ok(String::new()));
        assert_eq!(prefix("http://127.0.0.1:4000/v1"), Ok(String::new()));
        assert_eq!(prefix("http://127.0.0.1:4000/team/a/v1/"), Ok("/team/a".into()));
        assert!(prefix("https://127.0.0.1").unwrap_err().contains("http://"));
    }
}

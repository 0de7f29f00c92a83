//! Checks of the listeners: addresses, certificates, bounds, and that nobody opens the door to the street.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Checker;
use crate::config::report::KeyPath;
use crate::config::settings::{Settings, TlsSection};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_>) {
    let data = address(&KeyPath::top("listen"), &settings.listen, checker);
    let admin = address(&KeyPath::top("admin").key("listen"), &settings.admin.listen, checker);
    if let (Some(data), Some(admin)) = (data, admin)
        && collide(data, admin)
    {
        let path = KeyPath::top("admin").key("listen");
        checker.error(&path, "the data listener has this address", "give the two listeners different ports");
    }
    if let Some(data) = data.filter(|data| settings.open && !data.ip().is_loopback()) {
        let message = format!("`open: true` serves anyone who reaches {data}");
        let hint = "listen on 127.0.0.1, or remove `open` and give out keys under `teams`";
        checker.error(&KeyPath::top("open"), message, hint);
    }
    if let Some(admin) = admin.filter(|admin| !admin.ip().is_loopback()) {
        let message = format!("the admin listener has no login, and {admin} is not a loopback address");
        let hint = "listen on 127.0.0.1, or let only your monitoring reach it";
        checker.warning(&KeyPath::top("admin").key("listen"), message, hint);
    }
    if let Some(files) = &settings.tls {
        tls(files, checker);
    }
    bounds(settings, checker);
}

fn address(path: &KeyPath<'_>, text: &str, checker: &mut Checker<'_>) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let hint = match text.strip_prefix("localhost:") {
            Some(port) => format!("write `127.0.0.1:{port}`"),
            None => "an IP address and a port: `127.0.0.1:4000`, `0.0.0.0:4000`, `[::1]:4000`".into(),
        };
        checker.error(path, "not an address to listen on", &hint);
    }
    parsed
}

/// Whether the second of two listeners could not be opened. Port 0 is any free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}

fn tls(files: &TlsSection, checker: &mut Checker<'_>) {
    let path = KeyPath::top("tls");
    let chain = pem(&path.key("cert"), &files.cert, checker).and_then(|pem| {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            checker.error(
                &path.key("cert"),
                "the file holds no certificate",
                "PEM: `-----BEGIN CERTIFICATE-----`",
            );
            return None;
        }
        Some(chain)
    });
    let key = pem(&path.key("key"), &files.key, checker).and_then(|pem| {
        let key = PrivateKeyDer::from_pem_slice(&pem).ok();
        if key.is_none() {
            checker.error(
                &path.key("key"),
                "the file holds no private key",
                "PEM: `-----BEGIN PRIVATE KEY-----`",
            );
        }
        key
    });
    if let (Some(chain), Some(key)) = (chain, key)
        && let Err(reason) = CertifiedKey::from_der(chain, key, &default_provider())
    {
        let hint = "the first certificate of the chain must be the one made for this key";
        checker.error(&path, format!("certificate and key do not work together: {reason}"), hint);
    }
}

fn pem(path: &KeyPath<'_>, file: &Path, checker: &mut Checker<'_>) -> Option<Vec<u8>> {
    let read = fs::metadata(file).and_then(|about| {
        if about.is_file() { fs::read(file) } else { Err(std::io::Error::other("it is not a file")) }
    });
    read.map_err(|reason| {
        let message = format!("{} cannot be read: {reason}", file.display());
        checker.error(path, message, "the path starts from the folder of the config file");
    })
    .ok()
}

fn bounds(settings: &Settings, checker: &mut Checker<'_>) {
    let server = &settings.server;
    let path = KeyPath::top("server");
    for (key, is_zero) in [
        ("max_body", server.max_body.0 == 0),
        ("max_body_total", server.max_body_total.0 == 0),
        ("max_upload", server.max_upload.0 == 0),
        ("max_upload_total", server.max_upload_total.0 == 0),
        ("max_requests", server.max_requests == 0),
        ("max_connections", server.max_connections == 0),
        ("header_timeout", server.header_timeout.0.is_zero()),
        ("body_timeout", server.body_timeout.0.is_zero()),
        ("write_timeout", server.write_timeout.0.is_zero()),
    ] {
        checker.not_zero(&path.key(key), is_zero);
    }
    for (one, most, all, total) in [
        ("max_body", server.max_body, "max_body_total", server.max_body_total),
        ("max_upload", server.max_upload, "max_upload_total", server.max_upload_total),
    ] {
        if !checker.is_wrong(&path.key(all)) && most > total {
            let message = format!("one body may have {most}, all together {total}");
            checker.error(&path.key(one), message, &format!("raise `{all}` or lower `{one}`"));
        }
    }
    let cache = KeyPath::top("cache");
    checker.not_zero(&cache.key("max_size"), settings.cache.max_size.0 == 0);
    checker.not_zero(&cache.key("max_answer"), settings.cache.max_answer.0 == 0);
    let known = !checker.is_wrong(&cache.key("max_size"));
    if known && settings.cache.max_answer > settings.cache.max_size {
        let message = "one answer may be larger than the whole cache";
        checker.error(&cache.key("max_answer"), message, "raise `max_size` or lower `max_answer`");
    }
    checker.not_zero(&KeyPath::top("ledger").key("segment_size"), settings.ledger.segment_size.0 == 0);
}

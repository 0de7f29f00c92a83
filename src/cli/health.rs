//! `tollgate health`: asks a running gateway whether it may be sent requests. What a container's health
//! check runs: the image needs no other tool for it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

use super::out::{Exit, line, note};
use super::place::{DEFAULT_CONFIG, load_without_secrets, reachable};

/// Ask a running gateway whether it is ready.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 ready, 1 not ready or not reached. Container engines know no other answers."
)]
pub struct HealthArgs {
    /// Where to ask, e.g. http://127.0.0.1:4001/healthz. Default: /readyz on the config's admin listener, or on
    /// 127.0.0.1:4001 if there is no config.
    #[arg(long, value_name = "URL", value_parser = read_url)]
    url: Option<Uri>,
    /// The config file, which says where the admin listener is.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    config: Option<PathBuf>,
}

/// Asks once, and says what was answered.
#[must_use]
pub fn run(args: &HealthArgs) -> Exit {
    let asked = place(args).and_then(|place| ask(&place).map_err(|fault| format!("{place}: {fault}")));
    match asked {
        Ok(answer) if answer.is_good() => {
            line(&answer.body);
            Exit::Ok
        }
        Ok(answer) => {
            note(&format!("not ready: {} {}", answer.status, answer.body));
            Exit::No
        }
        Err(why) => {
            note(&format!("not reached: {why}"));
            Exit::No
        }
    }
}

fn place(args: &HealthArgs) -> Result<Uri, String> {
    if let Some(url) = &args.url {
        return Ok(url.clone());
    }
    let listed = match &args.config {
        Some(config) => admin_listener(config)?,
        None if Path::new(DEFAULT_CONFIG).exists() => admin_listener(Path::new(DEFAULT_CONFIG))?,
        None => DEFAULT_ADMIN.into(),
    };
    read_url(&format!("http://{}/readyz", reachable(&listed)))
}

fn admin_listener(config: &Path) -> Result<String, String> {
    // the faults are printed where they are found
    let loaded = load_without_secrets(config).map_err(|_| format!("{} has faults", config.display()))?;
    Ok(loaded.settings.admin.listen)
}

fn read_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|fault| format!("{text}: {fault}"))?;
    match (url.scheme_str(), url.authority()) {
        (Some("http"), Some(_)) => Ok(url),
        _ => Err("expected http://HOST:PORT/PATH: the admin listener speaks no TLS".into()),
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    const fn is_good(&self) -> bool {
        self.status == 200
    }
}

/// One HTTP/1.0 request: the other side closes, so nothing needs to be framed.
fn ask(url: &Uri) -> io::Result<Answer> {
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut connection = connect((host, url.port_u16().unwrap_or(80)))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.0\r\nhost: {authority}\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    read_answer(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// The first of the name's addresses that takes the connection.
fn connect(place: (&str, u16)) -> io::Result<TcpStream> {
    let mut fault = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(connection) => return Ok(connection),
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.trim().parse().ok()?;
    Some(Answer { status, body: body.trim().into() })
}

/// Where the admin listener is when nothing else is said.
const DEFAULT_ADMIN: &str = "127.0.0.1:4001";
/// A gateway that does not answer this in two seconds should get no traffic.
const PATIENCE: Duration = Duration::from_secs(2);
/// The reasons why a gateway is not ready are a few words.
const LONGEST_ANSWER: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `answer`; tells where, and what was asked.
    fn answering(answer: &'static str) -> (Uri, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap()).parse().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 256];
                let read = connection.read(&mut piece).unwrap();
                asked.extend_from_slice(&piece[..read]);
            }
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (url, asked)
    }

    fn health(url: Uri) -> Exit {
        run(&HealthArgs { url: Some(url), config: None })
    }

    #[test]
    fn a_ready_gateway_is_0_and_everything_else_is_1() {
        for (answer, exit) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Exit::Ok),
            ("HTTP/1.0 200 OK\r\n\r\n", Exit::Ok),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"not_ready\",\"reasons\":[\"draining\"]}",
                Exit::No,
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n", Exit::No),
            ("", Exit::No),
        ] {
            let (url, asked) = answering(answer);
            let host = url.authority().unwrap().to_string();
            assert_eq!(health(url), exit, "{answer}");
            assert_eq!(asked.join().unwrap(), format!("GET /readyz HTTP/1.0\r\nhost: {host}\r\n\r\n"));
        }
    }

    #[test]
    fn a_gateway_that_is_not_there_is_1() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(health(format!("http://{free}/").parse().unwrap()), Exit::No);
    }

    #[test]
    fn the_config_says_where_to_ask() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tollgate.yaml");
        let text = "open: true\nadmin: { listen: \"0.0.0.0:4901\" }\nupstreams: { a: { base_url: \"http://[::1]:1\" } }\n";
        std::fs::write(&config, text).unwrap();
        let args = HealthArgs { url: None, config: Some(config) };
        assert_eq!(place(&args).unwrap(), "http://127.0.0.1:4901/readyz");
        let missing = HealthArgs { url: None, config: Some(folder.path().join("none.yaml")) };
        assert!(place(&missing).is_err());
        assert_eq!(run(&missing), Exit::No);
    }

    #[test]
    fn only_plain_http_is_asked() {
        for bad in ["https://127.0.0.1:4001/", "127.0.0.1:4001", "/readyz", "http://"] {
            assert!(read_url(bad).is_err(), "{bad}");
        }
    }
}

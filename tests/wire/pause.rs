//! S11: an upstream that stops for a while, as a process does that the system suspends.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::script::gateway;
use crate::support::{Wire, chat, stream_chat, until};

/// The mock as a process of its own.
struct Upstream {
    child: Child,
    addr: SocketAddr,
}

impl Upstream {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["mock", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split_once("http://").unwrap().1.split_once('/').unwrap().0.parse().unwrap();
        Self { child, addr }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.signal("CONT");
        // it runs until it is told to end
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn s_11_an_upstream_that_stops_and_goes_on_has_lost_nothing() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.addr, "", ", first_byte_timeout: 1s, connect_timeout: 1s");
    let model = "gpt-4o@out=60+pace=10ms";
    let mut direct = Wire::open(upstream.addr);
    direct.write(&stream_chat(model).bytes());
    let expected = direct.answer();

    let mut streams: Vec<Wire> = (0..8).map(|_| Wire::open(gateway.data)).collect();
    for client in &mut streams {
        client.write(&stream_chat(model).bytes());
        client.wait_for(b"data: ");
    }
    upstream.signal("STOP");
    // those who ask now are told in time
    let refused = gateway.send(&chat("gpt-4o"));
    assert_eq!(refused.refusal(), (504, "upstream_timeout".into()));
    upstream.signal("CONT");
    for mut client in streams {
        let answer = client.answer();
        assert!(answer.whole && answer.body.len() == expected.body.len(), "{}", answer.text());
        assert_eq!(gateway.row_of(&answer).usage_source.as_str(), "reported");
    }
    for _ in 0..20 {
        assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
    }
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
}

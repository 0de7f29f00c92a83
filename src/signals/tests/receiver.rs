//! An OTLP receiver in the test's own process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};

/// An OTLP receiver that passes on what it got: path and body as sent.
pub(super) fn receiver() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (got, received) = sync_channel(64);
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let got = got.clone();
            std::thread::spawn(move || serve(BufReader::new(connection), &got));
        }
    });
    (endpoint, received)
}

fn serve(
    mut connection: BufReader<std::net::TcpStream>,
    got: &std::sync::mpsc::SyncSender<(String, Vec<u8>)>,
) {
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        connection.read_exact(&mut body).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        got.send((path, plain)).unwrap();
        connection.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

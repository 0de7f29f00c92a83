//! Case 27: forms with files, larger than what is read into memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tollgate::base::money::NanoUsd;
use tollgate::mock::MockHandle;

use crate::script::{Script, chunk};
use crate::support::{Answer, Gateway, PROD, Setup, Wire, json_answer, mock, until};

/// The size of the file in a form: what upstreams take of audio at most.
const FILE: usize = 25 << 20;

pub(crate) const TRANSCRIBED: &str = r#"{"text":"hi","usage":{"type":"duration","seconds":3}}"#;

/// A gateway with an alias in front of an upstream.
fn gateway(base_url: &str, more: &str) -> Gateway {
    Gateway::start(&config(base_url, more))
}

fn config(base_url: &str, more: &str) -> String {
    format!(
        "upstreams: {{ up: {{ base_url: \"{base_url}\" }} }}
routes:
  - {{ models: [alias], to: [{{ upstream: up, model: whisper-1 }}] }}
  - {{ models: [\"*\"], to: [{{ upstream: up }}] }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}
{more}"
    )
}

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--form-boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        .into_bytes()
}

/// Bytes in which line ends and hyphens are as frequent as in any file.
fn file(size: usize) -> Vec<u8> {
    let head = b"--form-boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\n";
    let mut seed = 7_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_le_bytes()
    });
    [&head[..], &noise.take(size / 8).flatten().collect::<Vec<_>>(), b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--form-boundary--\r\n"].concat()
}

fn head(path: &str, framing: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
         content-type: multipart/form-data; boundary=form-boundary\r\n{framing}\r\n\r\n"
    )
}

const PATH: &str = "/v1/audio/transcriptions";

/// Sends a form of a known length.
fn send(gateway: &Gateway, path: &str, body: &[u8]) -> Answer {
    let mut wire = Wire::open(gateway.data);
    wire.write(head(path, &format!("content-length: {}", body.len())).as_bytes());
    wire.write_while_open(body);
    wire.answer()
}

/// The same in chunks, without a length.
fn send_chunked(gateway: &Gateway, path: &str, body: &[u8]) -> Answer {
    let mut wire = Wire::open(gateway.data);
    wire.write(head(path, "transfer-encoding: chunked").as_bytes());
    for piece in body.chunks(100_000) {
        wire.write_while_open(&chunk(piece));
    }
    wire.write_while_open(b"0\r\n\r\n");
    wire.answer()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn last_hash(upstream: &MockHandle) -> String {
    upstream.served().last().expect("the upstream was asked").body_sha256.clone()
}

/// Nothing of an upload is left under a folder: no name.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Bytes of each file without a name that a process has open.
fn nameless(gateway: &Gateway) -> Vec<u64> {
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    let deleted = open.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().ends_with("(deleted)"))
    });
    deleted.filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).collect()
}

/// Waits until one form is on the disk, and `bytes` of it.
fn wait_for_spool(gateway: &Gateway, bytes: u64) {
    until("a form on the disk", || nameless(gateway).first().filter(|length| **length >= bytes).copied());
}

#[test]
fn wire_27_a_form_arrives_as_it_was_sent_wherever_its_model_stands() {
    let upstream = mock();
    let gateway = gateway(&upstream.base_url(), "");
    let early = form(&[field("model", "whisper-1"), file(FILE), field("response_format", "json")]);
    let late = form(&[file(FILE), field("response_format", "json"), field("model", "whisper-1")]);
    let mut rows = 0;
    for (shown, body) in [("early", &early), ("late", &late)] {
        for answer in [send(&gateway, PATH, body), send_chunked(&gateway, PATH, body)] {
            assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
            assert_eq!(last_hash(&upstream), sha256(body), "{shown}");
            rows += 1;
            let row = gateway.row_of(&answer);
            let seconds = answer.json()["usage"]["seconds"].as_u64().unwrap();
            assert_eq!((row.model.as_str(), row.usage.seconds), ("whisper-1", seconds), "{shown}");
            assert!(row.cost.is_some() && row.cost <= Some(row.reserved), "{shown}: {row:?}");
        }
    }
    assert_eq!(gateway.rows(rows).len(), rows);
    assert_eq!(nameless(&gateway), [0; 0], "what waited on the disk is given back");
}

#[test]
fn wire_27_an_alias_is_replaced_at_its_place_and_lengths_stay_right() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let file = file(3 << 20);
    for (shown, early) in [("early", true), ("late", false)] {
        let with = |model: &str| {
            let (first, last) = (field("model", model), field("language", "de"));
            if early { form(&[first, file.clone(), last]) } else { form(&[last, file.clone(), first]) }
        };
        for chunked in [false, true] {
            let asked = std::thread::scope(|scope| {
                let sent = scope.spawn(|| {
                    let body = with("alias");
                    if chunked { send_chunked(&gateway, PATH, &body) } else { send(&gateway, PATH, &body) }
                });
                let (mut line, asked) = upstream.asked();
                line.send(json_answer(200, "connection: close\r\n", TRANSCRIBED));
                assert_eq!(sent.join().unwrap().status, 200, "{shown}");
                asked
            });
            assert!(asked.body == with("whisper-1"), "{shown}: {} bytes", asked.body.len());
            let length = asked.header("content-length").map(str::to_owned);
            assert_eq!(length, (!chunked).then(|| asked.body.len().to_string()), "{shown}");
        }
    }
}

/// Bytes of a request that are still to come behind those that were read of it.
fn left(body: &[u8], begun: &[u8]) -> usize {
    let head = begun.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    body.len() - (begun.len() - head)
}

#[test]
fn wire_27_an_early_model_reaches_the_upstream_before_the_file_has_ended() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let body = form(&[field("model", "whisper-1"), file(4 << 20)]);
    let mut client = Wire::open(gateway.data);
    client.write(head(PATH, &format!("content-length: {}", body.len())).as_bytes());
    client.write(&body[..body.len() - 1]);
    // the last byte is not sent before the upstream has the first ones
    let mut line = upstream.accept();
    let mut begun = vec![0; 2 << 20];
    line.raw().read_exact(&mut begun).unwrap();
    client.write(&body[body.len() - 1..]);
    let mut rest = vec![0; left(&body, &begun)];
    line.raw().read_exact(&mut rest).unwrap();
    assert!(rest.ends_with(b"--form-boundary--\r\n"));
    line.send(json_answer(200, "connection: close\r\n", TRANSCRIBED));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn wire_27_a_form_that_passes_goes_out_on_a_new_connection() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let small = form(&[field("model", "whisper-1"), file(800)]);
    let large = form(&[field("model", "whisper-1"), file(2 << 20)]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| send(&gateway, PATH, &small));
        let (mut kept, _) = upstream.asked();
        kept.send(json_answer(200, "", TRANSCRIBED));
        assert_eq!(first.join().unwrap().status, 200);
        // the first connection is idle in the pool, and may have ended for all that the gateway knows
        let second = scope.spawn(|| send(&gateway, PATH, &large));
        let (mut fresh, seen) = upstream.asked();
        assert!(seen.body == large);
        fresh.send(json_answer(200, "", TRANSCRIBED));
        assert_eq!(second.join().unwrap().status, 200);
    });
}

#[test]
fn wire_27_a_form_that_changes_its_mind_does_not_come_to_its_end() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let body = form(&[field("model", "whisper-1"), file(2 << 20), field("model", "gpt-4o-transcribe")]);
    let (answer, mut line) = std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&gateway, PATH, &body));
        let line = upstream.accept();
        (sent.join(), line)
    });
    let answer = answer.unwrap();
    assert_eq!(answer.refusal(), (400, "invalid_body".into()));
    let mut came = Vec::new();
    let _ = line.raw().read_to_end(&mut came);
    assert!(!came.ends_with(b"--form-boundary--\r\n"), "the upstream must not have all of it");
    let row = gateway.row_of(&answer);
    assert_eq!(row.cost.map_or(0, NanoUsd::as_nanos), 0, "{row:?}");
}

#[test]
fn wire_27_an_answer_that_comes_before_the_form_has_ended_reaches_the_client() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let size = 200 << 20;
    for _ in 0..5 {
        let mut client = Wire::open(gateway.data);
        client.write(head(PATH, &format!("content-length: {size}")).as_bytes());
        client.write(&[field("model", "whisper-1"), file(2 << 20)].concat());
        let mut line = upstream.accept();
        let mut begun = vec![0; 1 << 20];
        line.raw().read_exact(&mut begun).unwrap();
        line.send(json_answer(413, "connection: close\r\n", "{\"error\":{\"message\":\"too large\"}}"));
        line.finish();
        // the client goes on sending, as clients do that look for an answer only at the end
        for _ in 0..8 {
            client.write_while_open(&vec![0; 1 << 20]);
        }
        let answer = client.answer();
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.text().contains("too large"));
    }
}

#[test]
fn wire_27_what_is_larger_than_allowed_is_refused_and_leaves_nothing() {
    let upstream = mock();
    let gateway = gateway(&upstream.base_url(), "server: { max_upload: 4MiB, max_upload_total: 4MiB }\n");
    let (early, late) = (field("model", "whisper-1"), file(5 << 20));
    for body in [form(&[early.clone(), late.clone()]), form(&[late, early])] {
        assert_eq!(send(&gateway, PATH, &body).refusal(), (413, "request_too_large".into()));
        let chunked = send_chunked(&gateway, PATH, &body);
        assert_eq!(chunked.refusal(), (413, "request_too_large".into()));
        assert!(chunked.text().contains("server.max_upload"));
    }
    assert!(upstream.served().iter().all(|served| served.operation != "audio_transcriptions"));
    assert_eq!(nameless(&gateway), [0; 0]);
    let fits = form(&[file(3 << 20), field("model", "whisper-1")]);
    assert_eq!(send(&gateway, PATH, &fits).status, 200, "the room was given back");
}

#[test]
fn wire_27_too_many_forms_on_the_disk_are_told_to_come_again() {
    let upstream = mock();
    let gateway = gateway(&upstream.base_url(), "server: { max_upload: 4MiB, max_upload_total: 4MiB }\n");
    let mut waits = Wire::open(gateway.data);
    // what is written last is not yet on the disk
    let body = form(&[file((3 << 20) + (512 << 10)), field("model", "whisper-1")]);
    waits.write(head(PATH, &format!("content-length: {}", body.len())).as_bytes());
    waits.write(&body[..body.len() - 9]);
    wait_for_spool(&gateway, (3 << 20) + 1);
    let refused = send(&gateway, PATH, &body);
    assert_eq!(refused.refusal(), (503, "uploads_full".into()));
    assert!(refused.header("retry-after").is_some());
    waits.write(&body[body.len() - 9..]);
    assert_eq!(waits.answer().status, 200);
}

#[test]
fn wire_27_a_full_disk_refuses_what_has_to_wait_there_and_nothing_else() {
    let upstream = mock();
    let setup = Setup::new(&config(&upstream.base_url(), ""));
    let serve = setup.command(&["serve"]);
    // it lives on when a file may not grow: the system's own signal for that would end it
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let gateway = setup.start_as(command);
    let pid = gateway.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=2000000:"]).status().unwrap().success());
    let late = form(&[file(3 << 20), field("model", "whisper-1")]);
    let refused = send(&gateway, PATH, &late);
    assert_eq!(refused.refusal(), (507, "upload_not_stored".into()));
    assert_eq!(gateway.row_of(&refused).error, "upload_not_stored");
    assert_eq!(nameless(&gateway), [0; 0]);
    let early = form(&[field("model", "whisper-1"), file(3 << 20)]);
    assert_eq!(send(&gateway, PATH, &early).status, 200);
}

#[test]
fn wire_27_a_form_that_stops_coming_is_given_up() {
    let upstream = mock();
    let gateway = gateway(&upstream.base_url(), "server: { body_timeout: 100ms }\n");
    for begun in [[field("model", "whisper-1"), file(2 << 20)], [file(2 << 20), field("n", "1")]] {
        let mut client = Wire::open(gateway.data);
        client.write(head(PATH, &format!("content-length: {}", 4 << 20)).as_bytes());
        client.write(&begun.concat());
        let answer = client.answer();
        assert_eq!(answer.refusal(), (408, "body_timeout".into()));
        let row = gateway.row_of(&answer);
        assert_eq!(row.cost.map_or(0, NanoUsd::as_nanos), 0, "{row:?}");
    }
}

#[test]
fn wire_27_an_upstream_that_does_not_read_holds_the_client_up() {
    let upstream = Script::open();
    let gateway = gateway(&format!("http://{}/v1", upstream.addr), "");
    let mut client = TcpStream::connect(gateway.data).unwrap();
    // once nothing was taken for so long, nothing will be
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    client.write_all(head(PATH, &format!("content-length: {}", 1 << 30)).as_bytes()).unwrap();
    client.write_all(&field("model", "whisper-1")).unwrap();
    client.write_all(&file(2 << 20)).unwrap();
    let line = upstream.accept();
    let piece = vec![0; 1 << 20];
    let taken = (0..100).take_while(|_| client.write_all(&piece).is_ok()).count();
    assert!(taken < 64, "{taken} MiB were taken for an upstream that reads nothing");
    drop(line);
}

#[test]
fn wire_27_a_form_on_the_disk_has_no_name_and_goes_with_the_process() {
    let upstream = mock();
    let mut gateway = gateway(&upstream.base_url(), "");
    let before = names_in(&gateway.setup.data_dir());
    let mut client = Wire::open(gateway.data);
    client.write(head(PATH, &format!("content-length: {}", 30 << 20)).as_bytes());
    client.write(&file(20 << 20));
    wait_for_spool(&gateway, 10 << 20);
    assert_eq!(names_in(&gateway.setup.data_dir()), before);
    gateway.signal("KILL");
    gateway.exit();
    assert_eq!(names_in(&gateway.setup.data_dir()), before);
}

#[test]
fn wire_27_a_form_on_the_disk_is_sent_to_the_next_upstream_too() {
    let (broken, upstream) = (Script::open(), mock());
    let gateway = Gateway::start(&format!(
        "upstreams:
  broken: {{ base_url: \"http://{}/v1\" }}
  up: {{ base_url: \"{}\" }}
routes: [{{ models: [\"*\"], to: [{{ upstream: broken }}, {{ upstream: up }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        broken.addr,
        upstream.base_url()
    ));
    let body = form(&[file(3 << 20), field("model", "whisper-1")]);
    let answer = std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&gateway, PATH, &body));
        let (mut line, _) = broken.asked();
        line.send(json_answer(503, "connection: close\r\n", "{}"));
        sent.join().unwrap()
    });
    assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (200, Some("2")));
    assert_eq!(last_hash(&upstream), sha256(&body));
    drop(broken);
    // one that passes goes to the next, too, as long as nobody has taken a byte of it
    let body = form(&[field("model", "whisper-1"), file(3 << 20)]);
    let answer = send(&gateway, PATH, &body);
    assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (200, Some("2")));
    assert_eq!(last_hash(&upstream), sha256(&body));
}

#[test]
fn wire_27_what_a_form_may_cost_is_held_by_its_size_and_by_its_last_part() {
    let upstream = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 3, every: total }}] }} }}\n",
        upstream.base_url()
    ));
    // 0.006 USD a minute: 20 MiB of the most frugal speech are 700 minutes
    let long = form(&[field("model", "whisper-1"), file(20 << 20)]);
    assert_eq!(send(&gateway, PATH, &long).refusal().0, 402);
    let short = form(&[field("model", "whisper-1"), file(3 << 20)]);
    let answer = send(&gateway, PATH, &short);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let row = gateway.row_of(&answer);
    let seconds = (short.len() as u64).div_ceil(500);
    assert_eq!(row.reserved.as_nanos().unsigned_abs().div_ceil(100_000), seconds, "{row:?}");
    // ten pictures may cost 6 USD, however late their number comes
    let edit = |n: &str| form(&[field("model", "gpt-image-1"), file(2 << 20), field("n", n)]);
    assert_eq!(send(&gateway, "/v1/images/edits", &edit("10")).refusal().0, 402);
    assert_eq!(send(&gateway, "/v1/images/edits", &edit("1")).status, 200);
}

//! `tollgate bench`: a running gateway is measured against its upstream, and who cannot be asked is named.

use std::process::Output;

use serde_json::Value;
use tollgate::store::record::Outcome;

use crate::support::{Gateway, mock, run};

fn gateway(upstream: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"{upstream}\", api_key: \"${{UPSTREAM_KEY}}\" }} }}\n\
         teams: {{ t: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

fn bench(gateway: &Gateway, words: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}/v1", gateway.data);
    let args = ["bench", "--model", "gpt-4o@out=3+pace=50ms", "--gateway", &url, "--requests", "5", "--yes"];
    let Output { status, stdout, stderr } = run(gateway.setup.command(&[&args[..], words].concat()), "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn both_ways_are_measured_and_the_gateway_knows_its_half() {
    let mock = mock();
    let gateway = gateway(&format!("http://{}/v1", mock.addr));
    let (exit, said, notes) = bench(&gateway, &["--key-env", "KEY_PROD", "--json"]);
    assert_eq!(exit, 0, "{said}{notes}");
    let report: Value = serde_json::from_str(&said).unwrap();
    for (kind, figures) in [("json", &["answer"][..]), ("stream", &["first_event", "gap", "answer"])] {
        let measured = &report["kinds"][kind];
        for way in ["direct", "gateway"] {
            assert_eq!((&measured[way]["answered"], &measured[way]["failed"]), (&5.into(), &0.into()));
        }
        for figure in figures {
            for percent in ["p50", "p99"] {
                let row = &measured["times"][figure][percent];
                assert!(row["gateway_us"].as_i64() > Some(0), "{figure} {percent}: {row}");
                assert!(row["added_us"].is_i64(), "{figure} {percent}: {row}");
            }
        }
        // it is a process of this machine and this user, found by its port
        assert!(measured["cpu_us_per_request"].as_i64() > Some(0), "{measured}");
    }
    // five of each kind, and one of each that warmed up
    let known = gateway.rows(12);
    assert_eq!(known.len(), 12);
    assert!(known.iter().all(|row| row.outcome == Outcome::Completed), "{known:?}");
}

#[test]
fn people_get_a_table() {
    let mock = mock();
    let gateway = gateway(&format!("http://{}/v1", mock.addr));
    let (exit, said, notes) = bench(&gateway, &["--key-env", "KEY_PROD", "--only", "json"]);
    assert_eq!(exit, 0, "{said}{notes}");
    assert!(said.contains("DIRECT") && said.contains("json whole answer p99"), "{said}");
    assert!(!said.contains("stream"), "{said}");
    assert!(notes.contains("12 requests with gpt-4o@out=3+pace=50ms"), "{notes}");
}

#[test]
fn who_cannot_be_asked_is_named() {
    let mock = mock();
    let lame = gateway("http://127.0.0.1:9/v1");
    let (exit, _, notes) = bench(&lame, &["--key-env", "KEY_PROD"]);
    assert_eq!((exit, notes.contains("the upstream does not answer")), (3, true), "{notes}");
    let well = gateway(&format!("http://{}/v1", mock.addr));
    let (exit, _, notes) = bench(&well, &["--key-env", "UPSTREAM_KEY"]);
    assert_eq!((exit, notes.contains("the gateway does not answer: status 401")), (3, true), "{notes}");
    let (exit, _, notes) = bench(&well, &["--key-env", "NOT_SET"]);
    assert_eq!((exit, notes.contains("NOT_SET is not set")), (2, true), "{notes}");
}

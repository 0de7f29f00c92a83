//! The end of the process: in order, or by force, nothing is lost.

use std::net::TcpStream;

use crate::support::{Gateway, Setup, Wire, chat, mock, rows, run, stream_chat, until};

/// A gateway that sends `gpt-4o` to the mock's `gpt-4o` with these knobs: what costs is known, knobs or not.
fn config(base_url: &str, knobs: &str) -> String {
    format!(
        "upstreams: {{ mock: {{ base_url: \"{base_url}\" }} }}
routes: [{{ models: [gpt-4o], to: [{{ upstream: mock, model: \"gpt-4o@{knobs}\" }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 9, every: total }}] }} }}\n"
    )
}

#[test]
fn a_stream_at_work_ends_well_while_nobody_new_is_let_in() {
    let mock = mock();
    let mut gateway = Gateway::start(&config(&mock.base_url(), "out=100+pace=10ms"));
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("gpt-4o").bytes());
    stream.wait_for(b"data: ");
    let mut idle = Wire::open(gateway.data);
    idle.write(&chat("gpt-4o").bytes());
    assert_eq!(idle.answer().status, 200);
    gateway.signal("TERM");
    gateway.logged("stopping");
    assert!(idle.rest().is_empty(), "an idle connection is closed without a word");
    until("the door to be shut", || TcpStream::connect(gateway.data).err());
    let answer = stream.answer();
    assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    assert_eq!(gateway.exit().code(), Some(0));
    let rows = rows(&gateway.setup.data_dir(), 2);
    assert!(
        rows.iter().all(|row| row.outcome.as_str() == "completed" && row.usage_source.as_str() == "reported")
    );
    let told = run(gateway.setup.command(&["usage", "--json"]), "");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["total"]["requests"], 2);
    assert_eq!(told["total"]["output_tokens"], 100 + rows[1].usage.output_tokens);
}

#[test]
fn a_request_that_outlasts_the_grace_is_cut_and_recorded() {
    let mock = mock();
    let config = config(&mock.base_url(), "out=1000+pace=20ms") + "server: { shutdown_grace: 300ms }\n";
    let mut gateway = Gateway::start(&config);
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("gpt-4o").bytes());
    stream.wait_for(b"data: ");
    gateway.signal("TERM");
    let answer = stream.answer();
    assert!(!answer.whole && !answer.text().contains("[DONE]"));
    assert_eq!(gateway.exit().code(), Some(0));
    let rows = rows(&gateway.setup.data_dir(), 1);
    assert_eq!((rows.len(), rows[0].outcome.as_str()), (1, "cancelled"));
    assert!(rows[0].usage.output_tokens > 0 && rows[0].cost.unwrap().as_nanos() > 0);
}

#[test]
fn a_killed_process_s_requests_are_charged_at_the_next_start() {
    let mock = mock();
    let mut gateway = Gateway::start(&config(&mock.base_url(), "out=1000+pace=20ms"));
    let done = gateway.send(&chat("gpt-4o"));
    let done = gateway.row_of(&done).cost.unwrap();
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("gpt-4o").bytes());
    stream.wait_for(b"data: ");
    let reserved = gateway.api("budgets")["budgets"][0]["reserved"].as_u64().unwrap();
    assert!(reserved > 0);
    gateway.signal("KILL");
    gateway.exit();
    let setup = std::mem::replace(&mut gateway.setup, Setup::new(""));
    let gateway = setup.start();
    let rows = gateway.rows(2);
    assert_eq!((rows.len(), rows[1].outcome.as_str()), (2, "interrupted"));
    assert_eq!(rows[1].cost.unwrap().as_nanos().unsigned_abs(), reserved);
    let budget = gateway.api("budgets")["budgets"][0].clone();
    assert_eq!(budget["spent"].as_u64().unwrap(), reserved + done.as_nanos().unsigned_abs());
    assert_eq!(budget["reserved"], 0);
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let mock = mock();
    let gateway = Gateway::start(&config(&mock.base_url(), "out=20"));
    let second = run(gateway.setup.command(&["serve"]), "");
    assert!(!second.status.success());
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("cannot start") && told.contains("another tollgate uses"), "{told}");
    assert!(told.contains(gateway.setup.data_dir().to_str().unwrap()), "{told}");
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
}

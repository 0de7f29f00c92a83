//! The disk is full: what is refused, what is told, and that every request still leaves its record.

use std::process::Command;

use crate::support::{Ask, Gateway, Setup, Wire, chat, mock, stream_chat, until};

/// To the fake upstream: 30 tokens, and a second of silence after 5.
const SLOW: &str = "gpt-4o@out=30+stall=5:1s";

/// A gateway that lives on when a file may not grow: the system's own signal for that would end it.
fn start(config: &str) -> Gateway {
    let setup = Setup::new(config);
    let serve = setup.command(&["serve"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(setup.dir.path());
    setup.start_as(command)
}

/// Lets no file of the process grow beyond `bytes`, as a full disk would.
fn limit_files(gateway: &Gateway, bytes: &str) {
    let pid = gateway.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
    assert!(done.success());
}

fn readyz(gateway: &Gateway) -> (u16, serde_json::Value) {
    let answer = Ask::get("/readyz").send(gateway.admin);
    (answer.status, answer.json())
}

#[test]
fn a_full_disk_refuses_and_tells_and_no_record_is_lost() {
    let mock = mock();
    let gateway = start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{}\" }} }}
teams: {{ t: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 5, every: day }}] }} }}
prices: {{ \"{SLOW}\": {{ input: 1, output: 2 }} }}\n",
        mock.base_url()
    ));
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
    gateway.rows(1);
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat(SLOW).bytes());
    stream.wait_for(b"data: ");
    limit_files(&gateway, "64");
    let streamed = stream.answer();
    assert!(streamed.whole, "what was begun may end");
    let refused = gateway.send(&chat("gpt-4o"));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("ledger_unavailable")));
    until("the news at /readyz", || {
        let (status, told) = readyz(&gateway);
        (status == 503 && told["reasons"] == serde_json::json!(["journal"])).then_some(())
    });
    limit_files(&gateway, "unlimited");
    // nobody asks again: the writer finds out by itself
    let row = gateway.row_of(&streamed);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "reported"));
    assert_eq!(
        (gateway.row_of(&refused).status, gateway.row_of(&refused).error.as_str()),
        (503, "ledger_unavailable")
    );
    until("the end of it", || (readyz(&gateway).0 == 200).then_some(()));
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
    let spent: i64 = gateway.rows(4).iter().map(|row| row.cost.unwrap().as_nanos()).sum();
    until("the books to agree", || {
        (gateway.api("budgets")["budgets"][0]["spent"].as_i64() == Some(spent)).then_some(())
    });
}

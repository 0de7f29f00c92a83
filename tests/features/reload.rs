//! The config changes while requests are at work: what holds, what changes, what a bad file does.

use tollgate::identity::Pepper;

use crate::support::{Ask, CI, Gateway, PROD, Wire, chat, mock, stream_chat, until};

const BOTH: &str = "[{ name: prod, key: \"${KEY_PROD}\" }, { name: ci, key: \"${KEY_CI}\" }]";
const PROD_ONLY: &str = "[{ name: prod, key: \"${KEY_PROD}\" }]";
const CI_ONLY: &str = "[{ name: ci, key: \"${KEY_CI}\" }]";

fn config(base_url: &str, keys: &str, more: &str) -> String {
    format!(
        "upstreams: {{ mock: {{ base_url: \"{base_url}\" }} }}
teams:
  search: {{ keys: {keys}{more} }}\n"
    )
}

#[path = "../../benches/growth/config.rs"]
mod growth;

fn ask(gateway: &Gateway, key: &str) -> u16 {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
    gateway.send(&Ask::post("/v1/chat/completions", body).bearer(key)).status
}

fn generation(gateway: &Gateway) -> u64 {
    gateway.api("config")["generation"].as_u64().unwrap()
}

#[test]
fn a_changed_file_is_loaded_without_being_asked() {
    let mock = mock();
    let gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, ""));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (200, 401));
    gateway.setup.write(&config(&mock.base_url(), CI_ONLY, ""));
    until("the new config", || (generation(&gateway) == 2).then_some(()));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (401, 200), "one key came, one went");
    gateway.setup.write(&config(&mock.base_url(), BOTH, ""));
    until("the new config", || (generation(&gateway) == 3).then_some(()));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (200, 200));
}

#[test]
fn requests_go_on_while_a_config_of_thousands_of_keys_is_loaded() {
    let mock = mock();
    let gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, ""));
    gateway.setup.write(&(config(&mock.base_url(), BOTH, "") + &growth::teams(400, 10)));
    until("the new config", || {
        assert_eq!(ask(&gateway, PROD), 200);
        (generation(&gateway) == 2).then_some(())
    });
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (200, 200));
    assert_eq!(gateway.api("config")["last_error"], serde_json::Value::Null);
}

#[test]
fn a_hangup_signal_loads_what_the_environment_and_files_say_now() {
    let mock = mock();
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("key");
    std::fs::write(&file, PROD).unwrap();
    // a secret elsewhere is not watched: only the signal tells that it has changed
    let keys = format!("[{{ name: prod, key: \"file:{}\" }}]", file.display());
    let gateway = Gateway::start(&config(&mock.base_url(), &keys, ""));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (200, 401));
    std::fs::write(&file, CI).unwrap();
    gateway.signal("HUP");
    until("the new config", || (generation(&gateway) == 2).then_some(()));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, CI)), (401, 200));
    gateway.signal("HUP");
    assert_eq!(ask(&gateway, CI), 200, "the same file again is no news");
    assert_eq!(generation(&gateway), 2);
}

#[test]
fn a_signal_right_after_the_start_is_heeded() {
    let mock = mock();
    for _ in 0..3 {
        let mut gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, ""));
        gateway.signal("HUP");
        assert_eq!(ask(&gateway, PROD), 200);
        assert!(gateway.is_running());
        gateway.signal("TERM");
        assert_eq!(gateway.exit().code(), Some(0));
    }
}

#[test]
fn a_change_right_after_the_start_is_seen() {
    let mock = mock();
    for _ in 0..3 {
        let gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, ""));
        gateway.setup.write(&config(&mock.base_url(), CI_ONLY, ""));
        until("the new config", || (generation(&gateway) == 2).then_some(()));
        assert_eq!(ask(&gateway, CI), 200);
    }
}

#[test]
fn a_reload_resets_neither_budgets_nor_limits() {
    let mock = mock();
    let more = |limit: u32, usd: u32| {
        format!(
            ", limits: {{ requests_per_minute: {limit} }}, budgets: [{{ limit_usd: {usd}, every: month }}]"
        )
    };
    let gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, &more(2, 5)));
    assert_eq!((ask(&gateway, PROD), ask(&gateway, PROD), ask(&gateway, PROD)), (200, 200, 429));
    let before = gateway.api("budgets")["budgets"][0].clone();
    assert!(before["spent"].as_u64().unwrap() > 0);
    gateway.setup.write(&config(&mock.base_url(), BOTH, &more(2, 7)));
    until("the new config", || (generation(&gateway) == 2).then_some(()));
    let after = gateway.api("budgets")["budgets"][0].clone();
    assert_eq!(after["limit"], 7_000_000_000_u64);
    assert_eq!((&after["spent"], &after["reserved"]), (&before["spent"], &0.into()));
    assert_eq!(ask(&gateway, PROD), 429, "the minute goes on");
}

#[test]
fn a_budget_that_comes_by_reload_knows_what_was_spent() {
    let mock = mock();
    let with = |budgets: &str| config(&mock.base_url(), PROD_ONLY, &format!(", budgets: [{budgets}]"));
    let (month, day) = ("{ limit_usd: 5, every: month }", "{ limit_usd: 5, every: day }");
    let tiny = "{ limit_usd: 0.000001, every: day }";
    let gateway = Gateway::start(&with(month));
    let reloaded = |to: u64, text: &str| {
        gateway.setup.write(&with(text));
        until("the new config", || (generation(&gateway) == to).then_some(()));
        gateway.api("budgets")["budgets"].clone()
    };
    assert_eq!(ask(&gateway, PROD), 200);
    let spent = until("the books to close", || {
        let budget = gateway.api("budgets")["budgets"][0].clone();
        (budget["reserved"] == 0 && budget["spent"] != 0).then(|| budget["spent"].as_u64().unwrap())
    });
    gateway.rows(1);
    let shown = reloaded(2, day);
    assert_eq!((&shown[0]["id"], &shown[0]["spent"]), (&"team:search/day-usd".into(), &spent.into()));
    assert_eq!(shown.as_array().unwrap().len(), 1, "the month's is gone");
    assert_eq!(gateway.metric("tollgate_budget_limit{"), 5.0, "and so are its gauges");
    assert_eq!(ask(&gateway, PROD), 200);
    let twice = until("the books to close", || {
        let budget = gateway.api("budgets")["budgets"][0].clone();
        (budget["reserved"] == 0).then(|| budget["spent"].as_u64().unwrap()).filter(|now| *now > spent)
    });
    gateway.rows(2);
    let shown = reloaded(3, &format!("{month}, {day}"));
    assert_eq!((&shown[0]["spent"], &shown[1]["spent"]), (&twice.into(), &twice.into()));
    reloaded(4, tiny);
    assert_eq!(ask(&gateway, PROD), 402, "an edit does not hand out the money again");
}

#[test]
fn a_bad_file_changes_nothing_and_is_shown() {
    let mock = mock();
    let gateway = Gateway::start(&config(&mock.base_url(), PROD_ONLY, ""));
    assert_eq!(ask(&gateway, PROD), 200);
    for bad in ["upstreams: [", "teams: {}\nno_such_key: 1\n", ""] {
        gateway.setup.write(bad);
        let told = until("the fault to be shown", || {
            gateway.api("config")["last_error"].as_str().map(str::to_owned)
        });
        let first = told.lines().next().unwrap().split_once(".yaml:").unwrap().1;
        assert_eq!(told.matches(first).count(), 1, "each fault once: {told}");
        assert_eq!(ask(&gateway, PROD), 200);
        assert_eq!(generation(&gateway), 1);
        gateway.setup.write(&config(&mock.base_url(), PROD_ONLY, ""));
        until("the fault to be gone", || gateway.api("config")["last_error"].is_null().then_some(()));
    }
    assert!(
        gateway.metric(r#"tollgate_config_reloads_total{tollgate_config_reload_outcome="rejected"}"#) >= 3.0
    );
    assert!(gateway.log().contains("rejected"));
}

#[test]
fn a_file_that_fails_late_changes_neither_budgets_nor_limits() {
    let mock = mock();
    let terms = |limit: u32, usd: u32| {
        format!(
            ", limits: {{ requests_per_minute: {limit} }}, budgets: [{{ limit_usd: {usd}, every: month }}]"
        )
    };
    let good = config(&mock.base_url(), PROD_ONLY, &terms(600, 5));
    let gateway = Gateway::start(&good);
    assert_eq!(ask(&gateway, PROD), 200);
    std::fs::write(gateway.setup.dir.path().join("prices.json"), "garbage").unwrap();
    let pepper = Pepper::load(&Pepper::path_in(&gateway.setup.data_dir())).unwrap();
    let twice = format!(
        "[{{ name: prod, key: \"${{KEY_PROD}}\" }}, {{ name: ci, hash: \"{}\" }}]",
        pepper.hash(PROD)
    );
    let bad_prices = config(&mock.base_url(), PROD_ONLY, &terms(1, 1)) + "price_catalogue: prices.json\n";
    for bad in [bad_prices, config(&mock.base_url(), &twice, &terms(1, 1))] {
        gateway.setup.write(&bad);
        until("the fault to be shown", || gateway.api("config")["last_error"].as_str().map(str::to_owned));
        assert_eq!(gateway.api("budgets")["budgets"][0]["limit"], 5_000_000_000_u64);
        assert_eq!((ask(&gateway, PROD), ask(&gateway, PROD)), (200, 200), "600 per minute, as before");
        gateway.setup.write(&good);
        until("the fault to be gone", || gateway.api("config")["last_error"].is_null().then_some(()));
        assert_eq!(gateway.api("budgets")["budgets"][0]["limit"], 5_000_000_000_u64);
        assert_eq!((ask(&gateway, PROD), generation(&gateway)), (200, 1));
    }
}

#[test]
fn a_request_at_work_keeps_the_policy_it_began_with() {
    let (old, new) = (mock(), mock());
    let gateway = Gateway::start(&config(&old.base_url(), PROD_ONLY, ""));
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("gpt-4o@out=30+stall=5:1s").bytes());
    stream.wait_for(b"data: ");
    gateway.setup.write(&config(&new.base_url(), CI_ONLY, ""));
    until("the new config", || (generation(&gateway) == 2).then_some(()));
    let answer = stream.answer();
    assert!(answer.whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "reported"));
    // on the same connection, the next request is judged anew
    stream.write(&chat("gpt-4o").bytes());
    assert_eq!(stream.answer().status, 401);
    assert_eq!(ask(&gateway, CI), 200);
    assert_eq!((old.served().len(), new.served().len()), (1, 1));
}

// FAULTS L20
#[test]
fn a_price_that_changes_in_the_middle_of_an_answer_is_the_next_request_s() {
    let mock = mock();
    let priced = |usd: u32| {
        config(&mock.base_url(), PROD_ONLY, "")
            + &format!("prices: {{ m: {{ input: {usd}, output: {usd} }} }}\n")
    };
    let gateway = Gateway::start(&priced(1));
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("m@out=30+stall=5:1s").bytes());
    stream.wait_for(b"data: ");
    gateway.setup.write(&priced(100));
    until("the new config", || (generation(&gateway) == 2).then_some(()));
    // nano-USD per token
    for (answer, rate) in [(stream.answer(), 1_000), (gateway.send(&stream_chat("m@out=30")), 100_000)] {
        let row = gateway.row_of(&answer);
        let tokens = i64::try_from(row.usage.total_tokens()).unwrap();
        assert_eq!((row.usage.output_tokens, row.cost.unwrap().as_nanos()), (30, tokens * rate));
        assert!(row.rates.contains(&(rate * 1_000).to_string()), "the row keeps its rates: {}", row.rates);
    }
}

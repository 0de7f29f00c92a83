use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::trial::{KEY, SMALL, environment, load_text, wrong};
use crate::config::{Severity, load};
use crate::identity::Pepper;

#[test]
fn an_open_door_to_the_street_is_refused() {
    let upstreams = "upstreams: { a: { base_url: \"https://a.test\" } }\n";
    let street = wrong(&format!("{upstreams}listen: 0.0.0.0:4000\nopen: true\n"));
    assert_eq!(street, ["3:7 open: `open: true` serves anyone who reaches 0.0.0.0:4000"]);
    assert_eq!(wrong(upstreams), ["1:1 teams: there is no team, so nobody may ask"]);
    let same = wrong(&format!("{SMALL}listen: 127.0.0.1:4001\n"));
    assert_eq!(same, ["1:1 admin.listen: the data listener has this address"]);
    let admin = load_text(format!("{SMALL}admin: {{ listen: \"0.0.0.0:4001\" }}\n")).unwrap();
    assert_eq!(admin.warnings[0].severity, Severity::Warning);
}

#[test]
fn a_certificate_is_read_and_must_fit_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    file("cert.pem", &own.cert.pem());
    file("key.pem", &own.signing_key.serialize_pem());
    file("other.pem", &other.signing_key.serialize_pem());
    file("empty.pem", "");
    let faults = |cert: &str, key: &str| -> Vec<String> {
        file("c.yaml", &format!("{SMALL}tls: {{ cert: {cert}, key: {key} }}\n"));
        let loaded = load(&folder.path().join("c.yaml"), &environment);
        loaded.err().map(|faults| faults.found().iter().map(|f| f.path.clone()).collect()).unwrap_or_default()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(faults("cert.pem", "key.pem"), none);
    assert_eq!(faults("cert.pem", "other.pem"), ["tls"]);
    assert_eq!(faults("absent.pem", "empty.pem"), ["tls.cert", "tls.key"]);
    assert_eq!(faults("empty.pem", "cert.pem"), ["tls.cert", "tls.key"]);
}

#[test]
fn a_route_leads_somewhere() {
    let found = wrong(&format!(
        "{SMALL}routes:\n  - {{ models: [], to: [] }}\n  - {{ models: [\"\"], to: [{{ upstream: a, weight: 0 }}], pick: weighted }}\n"
    ));
    let expected = [
        "4:7 routes[0].models: no model is named",
        "4:19 routes[0].to: the route leads nowhere",
        "5:16 routes[1].models[0]: an empty model name fits nothing",
        "5:21 routes[1].to: all weights are 0",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_model_has_one_price_whatever_the_case_of_its_name() {
    let price = "{ input: 1, output: 2 }";
    let found = wrong(&format!("{SMALL}prices: {{ gpt-4o: {price}, GPT-4o: {price} }}\n"));
    assert_eq!(found, ["3:44 prices.GPT-4o: `gpt-4o` is the same model: case does not matter"]);
}

#[test]
fn a_price_catalogue_is_read_before_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("rubbish.json", "{ \"prices\": garbage");
    file("c.yaml", &format!("{SMALL}price_catalogue: rubbish.json\n"));
    let faults = load(&folder.path().join("c.yaml"), &environment).unwrap_err();
    let found = &faults.found()[0];
    assert_eq!((found.line, found.path.as_str()), (3, "price_catalogue"));
    assert!(found.message.contains("rubbish.json is not a price catalogue"), "{}", found.message);
}

#[test]
fn a_key_and_its_hash_are_one_key_once_there_is_a_pepper() {
    let folder = tempfile::tempdir().unwrap();
    let pepper = Pepper::from_bytes(&[7; 32]);
    let text = format!(
        "{SMALL}data_dir: \"{}\"\nteams:\n  a: {{ keys: [{{ name: k, key: \"${{KEY}}\" }}] }}\n  \
         b: {{ keys: [{{ name: k, hash: \"{}\" }}] }}\n",
        folder.path().display(),
        pepper.hash(KEY)
    );
    assert_eq!(wrong(&text), Vec::<String>::new(), "nobody can know without the pepper");
    assert!(!Pepper::path_in(folder.path()).exists(), "a check makes no files");
    write_pepper(folder.path());
    let found = wrong(&text);
    assert!(found[0].ends_with("teams.b.keys[0].hash: this is the same key as teams.a.keys[0]"), "{found:?}");
}

/// 32 times a 7.
fn write_pepper(data_dir: &Path) {
    let path = Pepper::path_in(data_dir);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all("07".repeat(32).as_bytes()).unwrap();
}

#[test]
fn a_budget_has_one_limit_and_a_key_one_proof() {
    let found = wrong(&format!(
        "{SMALL}teams:\n  t:\n    keys: [{{ name: a }}, {{ name: b, hash: x, key: \"${{KEY}}\" }}]\n    \
         budgets: [{{ every: day }}, {{ limit_usd: 1, limit_tokens: 1, every: day }}, {{ limit_tokens: 0, every: day }}]\n"
    ));
    let messages: Vec<_> = found.iter().map(|fault| fault.split_once(' ').unwrap().1).collect();
    let expected = [
        "teams.t.keys[0]: has neither `hash` nor `key`",
        "teams.t.keys[1].hash: there is a `key` too",
        "teams.t.budgets[0]: has no limit",
        "teams.t.budgets[1].limit_usd: there is `limit_tokens` too",
        "teams.t.budgets[2].limit_tokens: a limit of 0 refuses everything",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn what_deserves_a_look_is_warned_of_and_loads() {
    let text = format!(
        "{SMALL}teams: {{ t: {{ expires: 2001-01-01, keys: [{{ name: a, key: \"${{SHORT}}\" }}] }} }}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = load(&path, &|_| Some("short".to_owned())).map_err(|faults| faults.to_string()).unwrap();
    let paths: Vec<_> = loaded.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(paths, ["teams.t.expires", "teams.t.keys[0].key"]);
}

#[test]
fn what_passes_by_budgets_and_lists_of_models_is_warned_of() {
    let warned = |more: &str| {
        let loaded = load_text(format!("{SMALL}{more}")).unwrap();
        loaded.warnings.iter().filter(|warning| warning.path == "unmetered").count()
    };
    let held = "budgets: [{ limit_usd: 1, every: day }]\n";
    let models = "teams: { t: { models: [gpt-4o], keys: [{ name: a, key: \"${KEY}\" }] } }\n";
    assert_eq!((warned(""), warned(held), warned(models)), (0, 1, 1));
    assert_eq!(warned(&format!("{held}{models}")), 2);
    assert_eq!(warned(&format!("{held}{models}unmetered: forward\n")), 0, "it is meant so");
    assert_eq!(warned(&format!("{held}{models}unmetered: refuse\n")), 0);
    assert_eq!(warned("budgets: [{ limit_usd: 1, every: day, shadow: true }]\n"), 0, "it holds nothing");
}

#[test]
fn headers_are_such_as_can_be_sent() {
    let headers = "{ \"b c\": x, host: h, x-fine: \"\u{e9}\", api-key: \"k\", authorization: \"Bearer ${KEY}\", x-n: 5 }";
    let text =
        format!("upstreams: {{ a: {{ base_url: \"https://a.test\", headers: {headers} }} }}\nopen: true\n");
    let messages: Vec<_> = wrong(&text).iter().map(|f| f.split_once(' ').unwrap().1.to_owned()).collect();
    let expected = [
        "upstreams.a.headers.\"b c\": not a header name",
        "upstreams.a.headers.host: Tollgate sets this header itself",
        "upstreams.a.headers.api-key: a credential is written into the config",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn rows_outlive_the_windows_that_are_counted_from_them() {
    let keep = |span: &str| wrong(&format!("{SMALL}ledger: {{ keep: {span} }}\n"));
    assert_eq!(keep("31d"), ["3:17 ledger.keep: rows would go before the windows of budgets end"]);
    assert!(load_text(format!("{SMALL}ledger: {{ keep: 32d }}\n")).is_ok());
    let rolling = "budgets: [{ limit_usd: 1, rolling: 90d }]\n";
    let with = |keep: &str| format!("{SMALL}{rolling}ledger: {{ keep: {keep} }}\n");
    assert_eq!(wrong(&with("93d")), ["4:17 ledger.keep: rows would go before the windows of budgets end"]);
    assert!(load_text(with("94d")).is_ok());
}

#[test]
fn a_budget_says_what_is_wrong_with_its_window_and_its_price() {
    let found = wrong(&format!(
        "{SMALL}budgets:\n\
         - {{ limit_usd: 1 }}\n\
         - {{ limit_usd: 1, every: day, rolling: 24h, first_day: sunday }}\n\
         - {{ limit_usd: 1, rolling: 10s, reset_day: 3 }}\n\
         - {{ limit_usd: 1, every: month, reset_day: 32 }}\n\
         - {{ limit_usd: 1, every: day, unpriced: {{ price_as: nobody-knows-it }}, models: [] }}\n\
         - {{ limit_usd: 1, every: day, unpriced: {{ price_as: gpt-4o }}, per: planet }}\n\
         - {{ per: run }}\n"
    ));
    let messages: Vec<_> = found.iter().map(|fault| fault.split_once(' ').unwrap().1).collect();
    let expected = [
        "budgets[0]: has no window",
        "budgets[1].rolling: there is `every` too",
        "budgets[1].first_day: there is no week to begin",
        "budgets[2].rolling: must be between 1m and 366d",
        "budgets[2].reset_day: there is no month to begin",
        "budgets[3].reset_day: no month has this day",
        "budgets[4].unpriced.price_as: this model has no price itself",
        "budgets[4].models: no model is named",
        "budgets[5].per: `planet` is not one of user, model, run, tag:feature",
    ];
    assert_eq!(messages, expected);
}

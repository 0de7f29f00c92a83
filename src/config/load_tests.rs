use super::*;
use crate::config::trial::{CANARY, KEY, SMALL, environment, good, hints, load_text, repo_file, wrong};

#[test]
fn the_smallest_file_loads() {
    let loaded = load(&repo_file("config/tollgate.yaml"), &environment).map_err(|f| f.to_string()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.settings.teams["search"].limits.tokens_per_minute.unwrap().get(), 200_000);
    assert_eq!(loaded.settings.upstreams["openai"].api_key.as_ref().unwrap().expose(), KEY);
}

#[test]
fn one_reading_finds_every_fault_on_its_line() {
    let text = "\
listen: localhost:4000
opn: true
server: { max_body: 8MB, max_requests: 0 }
upstreams:
  one:
    base_ulr: https://a.test
    connect_timeout: 30
  two:
    base_url: ftp://b.test
    kind: opnai
    api_key: written-out-in-the-open
    api_key: ${ABSENT}
routes:
  - models: [gpt-4o]
    to: [{ upstream: tow }]
teams:
  search:
    keys:
      - { name: a, key: '${KEY}' }
      - { name: a, key: '${KEY}' }
      - { name: b b, hash: abc }
    budgets:
      - { limit_usd: five, every: month }
      - { every: fortnight, time_zone: Mars/Olympus, warn_at: [90%, 75%] }
    limits: { requests_per_minute: 0 }
log: { level: loud, requests: yes }
";
    let expected = [
        "1:9 listen: not an address to listen on",
        "2:1 opn: unknown key `opn`",
        "3:21 server.max_body: `8MB` is not a size such as 512, 64KiB, 8MiB, 1GiB",
        "3:40 server.max_requests: must be more than 0",
        "5:3 upstreams.one.base_url: `base_url` is missing",
        "6:5 upstreams.one.base_ulr: unknown key `base_ulr`",
        "7:22 upstreams.one.connect_timeout: `30` is not a duration such as 30s, 250ms, 5m, 2h, 7d",
        "9:15 upstreams.two.base_url: the URL must begin with `https://` or `http://`",
        "10:11 upstreams.two.kind: `opnai` is not one of its words",
        "11:14 upstreams.two.api_key: a secret must not be written into the config",
        "12:5 upstreams.two.api_key: this key is given twice, first on line 11",
        "15:22 routes[0].to[0].upstream: there is no upstream of this name",
        "20:17 teams.search.keys[1].name: keys[0] of this team has this name",
        "20:25 teams.search.keys[1].key: this is the same key as teams.search.keys[0]",
        "21:17 teams.search.keys[2].name: this name cannot be used",
        "21:28 teams.search.keys[2].hash: not a key's hash: `hmac-sha256:` and 64 hex digits",
        "23:22 teams.search.budgets[0].limit_usd: `five` is not a decimal number",
        "24:9 teams.search.budgets[1]: has no limit",
        "24:18 teams.search.budgets[1].every: `fortnight` is not one of its words",
        "24:40 teams.search.budgets[1].time_zone: not a time zone known on this machine",
        "24:54 teams.search.budgets[1].warn_at: must rise, without repetition",
        "25:36 teams.search.limits.requests_per_minute: `0` is less than 1",
        "26:15 log.level: not a level or filter",
        "26:31 log.requests: `yes` is not true or false",
    ];
    let found = wrong(text);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_fault_is_not_reported_again_by_what_it_causes() {
    let text = "\
upstreams: { a: { base_url: [] }, b: no }
routes: [{ models: [x], to: [{ upstream: a, wieght: 0 }, { upstream: b }] }]
teams: { t: { kyes: [], budgets: [{ limt_usd: 5, every: day, warn_at: [90%, 5] }] } }
";
    let expected = [
        "1:19 upstreams.a.base_url: expected text, found a list",
        "1:38 upstreams.b: expected a map of keys, found a single value",
        "2:45 routes[0].to[0].wieght: unknown key `wieght`",
        "3:15 teams.t.kyes: unknown key `kyes`",
        "3:37 teams.t.budgets[0].limt_usd: unknown key `limt_usd`",
        "3:77 teams.t.budgets[0].warn_at[1]: `5` is not a share such as 75%",
    ];
    assert_eq!(wrong(text), expected);
}

#[test]
fn an_unknown_word_comes_with_the_one_that_was_meant() {
    let text = "upstreams: { a: { base_url: \"https://a.test\", stream_usage: asis } }\nopn: true\nlog: { levle: x }\n\
                routes: [{ models: [x], to: [{ upstream: aa }] }]\nteams: { t: { quota: 1, keys: [{ name: a, key: '${KEY}' }] } }\n";
    let expected = [
        "did you mean `as_is`? Allowed: `ask` and `as_is`",
        "did you mean `open`?",
        "did you mean `level`?",
        "did you mean `a`?",
        "the keys here are `keys`, `models`, `expires`, `budgets`, `limits` and `cache`",
    ];
    assert_eq!(hints(text), expected);
}

#[test]
fn numbers_are_read_as_written_and_never_through_a_float() {
    let settings = good(&format!(
        "{SMALL}teams:\n  t:\n    budgets: [{{ limit_usd: 0.1, every: day }}, {{ limit_usd: 9_000_000_000.000000001, every: day }}]\n    \
         limits: {{ tokens_per_minute: 200_000 }}\nprices: {{ m: {{ input: 0.000001, output: 1e-1 }} }}\n",
    ));
    let team = &settings.teams["t"];
    let nanos: Vec<_> = team.budgets.iter().map(|budget| budget.limit_usd.unwrap().0.as_nanos()).collect();
    assert_eq!(nanos, [100_000_000, 9_000_000_000_000_000_001]);
    assert_eq!(team.limits.tokens_per_minute.unwrap().get(), 200_000);
    assert_eq!(settings.prices["m"].input.0.as_picos(), 1);
    assert_eq!(settings.prices["m"].output.0.as_picos(), 100_000);
}

#[test]
fn what_is_not_a_whole_number_is_refused() {
    for bad in ["1.5", "1e3", "0x10", "010", "_1", "1_", "1__0", "-1", "\"5\"", "ten", "4294967296", "1:30"] {
        let found = wrong(&format!("{SMALL}server: {{ max_requests: {bad} }}\n"));
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert!(found[0].starts_with("3:25 server.max_requests: "), "{bad}: {found:?}");
    }
}

#[test]
fn text_stays_text() {
    for word in
        ["no", "on", "yes", "1.0", "1e3", "0777", "true", "2024-10-21", "12:30:45", "\"~\"", "=", "0o7"]
    {
        let settings = good(&format!("{SMALL}telemetry: {{ service_name: {word} }}\n"));
        assert_eq!(settings.telemetry.service_name, word.trim_matches('"'));
    }
    let settings = good("upstreams: { no: { base_url: \"https://a.test\" } }\nopen: true\n");
    assert!(settings.upstreams.contains_key("no"), "Norway is a fine upstream");
}

#[test]
fn a_key_with_nothing_behind_it_is_an_absent_key_where_one_may_be_absent() {
    let settings = good(&format!("{SMALL}workers:\nroutes:\nserver:\n#  max_body: 1MiB\nprices: ~\n"));
    assert!(settings.workers.is_none() && settings.routes.is_empty() && settings.prices.is_empty());
    let found = wrong(&format!("{SMALL}listen:\nunmetered: null\n"));
    assert_eq!(found, ["3:7 listen: text is missing here", "4:12 unmetered: a word is missing here"]);
}

#[test]
fn switches_are_true_and_false() {
    for bad in ["yes", "on", "True", "1", "\"true\""] {
        assert_eq!(wrong(&format!("{SMALL}log: {{ requests: {bad} }}\n")).len(), 1, "{bad}");
    }
}

#[test]
fn yaml_that_is_too_clever_is_refused() {
    for (text, message) in [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "2:1 : a second document begins here"),
        ("upstreams: {\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("? [x]\n: y\n", "a key must be a word"),
        ("upstreams: &a { x: *a }\n", "aliases (`*name`) are not supported"),
        ("open: !!bool true\n", "tags (`!name`) are not supported"),
        ("- a\n- b\n", "expected a map of keys, found a list"),
        ("just text\n", "expected a map of keys, found a single value"),
    ] {
        let found = wrong(text);
        assert!(found.iter().any(|fault| fault.contains(message)), "{text:?}: {found:?}");
    }
}

#[test]
fn a_bomb_of_aliases_or_nesting_is_cheap() {
    let bomb: String = (1..60).map(|n| format!("k{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    assert!(wrong(&format!("k0: &a0 lol\n{bomb}")).len() > 60);
    let deep = wrong(&format!("upstreams: {}{}", "[".repeat(100), "]".repeat(100)));
    assert!(deep.iter().any(|fault| fault.contains("nested more than")), "{deep:?}");
    // the parser itself must not overflow the stack either
    assert!(!wrong(&"[".repeat(1 << 20)).is_empty() && !wrong(&"{a: ".repeat(1 << 18)).is_empty());
}

#[test]
fn a_file_too_large_or_absent_is_unreadable() {
    let large = vec![b'#'; usize::try_from(LARGEST).unwrap() + 1];
    assert!(matches!(load_text(large), Err(Faults::Unreadable { .. })));
    let absent = load(Path::new("/nowhere/tollgate.yaml"), &environment).unwrap_err();
    assert!(
        matches!(&absent, Faults::Unreadable { .. }) && absent.to_string().contains("/nowhere/tollgate.yaml")
    );
}

#[test]
fn bytes_that_are_no_text_are_found_on_their_line() {
    let faults = load_text(b"a: 1\nb: \xff\n").unwrap_err();
    assert_eq!((faults.found()[0].line, faults.found()[0].message.as_str()), (2, "this line is not UTF-8"));
    assert!(load_text(format!("\u{feff}{SMALL}")).is_ok(), "a byte order mark is no fault");
}

#[test]
fn no_secret_reaches_a_fault() {
    let text = format!(
        "upstreams:
  a: {{ base_url: \"https://u:{CANARY}@h\", api_key: {CANARY}, kind: {CANARY}, connect_timeout: {CANARY} }}
  b: {{ base_url: \"{CANARY}\", api_key: \"${{BAD_CANARY}}\", headers: {{ a: \"${{BAD_CANARY}}\", \"b c\": \"${{CANARY}}\" }} }}
  c: {{ base_url: \"https://h\", {CANARY}: x, {CANARY}: y, api_key: [{CANARY}] }}
teams:
  t:
    keys:
      - {{ name: x, hash: {CANARY} }}
      - {{ name: y, key: \"${{CANARY}}\" }}
      - {{ name: y, key: \"${{CANARY}}\" }}
      - {{ name: \"{CANARY} \", expires: {CANARY} }}
    budgets: [{{ limit_usd: {CANARY}, limit_tokens: {CANARY}, every: {CANARY}, time_zone: {CANARY} }}]
server: {{ max_body: {CANARY}, max_requests: {CANARY} }}
telemetry: {{ sample_ratio: {CANARY}, push_metrics: {CANARY}, otlp_endpoint: {CANARY} }}
log: {{ level: {CANARY} }}
listen: {CANARY}
"
    );
    let faults = load_text(&text).unwrap_err();
    assert!(faults.found().len() > 20);
    assert!(!faults.to_string().contains(CANARY), "{faults}");
    assert!(!format!("{faults:?}").contains(CANARY));
}

#[test]
fn headers_may_hold_secrets_and_files_lie_beside_the_config() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "beside\n").unwrap();
    std::fs::copy(repo_file("config/prices.json"), folder.path().join("prices.json")).unwrap();
    let path = folder.path().join("c.yaml");
    let text = "open: true\nprice_catalogue: prices.json\nupstreams:\n  a: { base_url: \"https://a.test\", \
                api_key: file:key, headers: { x-token: \"Token ${KEY}\" } }\n";
    std::fs::write(&path, text).unwrap();
    let loaded = load(&path, &environment).map_err(|faults| faults.to_string()).unwrap();
    let upstream = &loaded.settings.upstreams["a"];
    assert_eq!(upstream.api_key.as_ref().unwrap().expose(), "beside");
    assert_eq!(upstream.headers["x-token"], format!("Token {KEY}"));
    assert_eq!(loaded.settings.price_catalogue, Some(folder.path().join("prices.json")));
    assert_eq!(loaded.settings.data_dir, Path::new("./data"), "written where the process runs");
}

#[test]
fn the_fingerprint_follows_the_file_and_its_secrets() {
    let text = "upstreams: { a: { base_url: \"https://a.test\", api_key: \"${KEY}\" } }\nopen: true\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let fingerprint = |text: &str, key: &str| {
        std::fs::write(&path, text).unwrap();
        load(&path, &|_| Some(key.to_owned())).map_err(|faults| faults.to_string()).unwrap().fingerprint
    };
    let first = fingerprint(text, "one");
    assert_eq!(first, fingerprint(text, "one"));
    assert_ne!(first, fingerprint(text, "two"));
    assert_ne!(first, fingerprint(&format!("{text}# more\n"), "one"));
    let with_prices = format!("{text}price_catalogue: prices.json\n");
    let shipped = std::fs::read_to_string(repo_file("config/prices.json")).unwrap();
    let of_prices = |prices: &str| {
        std::fs::write(folder.path().join("prices.json"), prices).unwrap();
        fingerprint(&with_prices, "one")
    };
    assert_ne!(
        of_prices(&shipped),
        of_prices(&(shipped.clone() + "\n")),
        "the catalogue it names belongs to it"
    );
}

#[test]
fn a_budget_without_a_window_is_told_of_those_there_are() {
    let text = format!("{SMALL}teams: {{ t: {{ budgets: [{{ limit_usd: 5 }}] }} }}\n");
    let expected = "add `every: month`, or hour, day, week or total; or `rolling: 24h`";
    assert_eq!(hints(&text), [expected]);
}

#[test]
fn a_name_given_twice_is_seen_among_many() {
    let team = |n: usize| format!("  t{n}: {{ keys: [{{ name: k, key: \"${{SEARCH_{n}}}\" }}] }}\n");
    let teams: String = (0..100).chain([3, 70]).map(team).collect();
    let text = format!("upstreams: {{ a: {{ base_url: \"https://a.test\" }} }}\nteams:\n{teams}");
    assert_eq!(
        wrong(&text),
        [
            "103:3 teams.t3: this key is given twice, first on line 6",
            "104:3 teams.t70: this key is given twice, first on line 73",
        ]
    );
}

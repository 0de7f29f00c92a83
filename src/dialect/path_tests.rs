//! What paths mean (WIRE, case 40).

use super::*;

fn post(path: &str) -> Endpoint {
    classify(&Method::POST, path)
}

fn v1(tail: &str) -> PathStyle {
    PathStyle::V1 { tail: tail.into() }
}

#[test]
fn every_known_path_has_its_operation_and_template() {
    use Operation as Op;
    for (path, operation, route) in [
        ("/v1/chat/completions", Op::ChatCompletions, "/v1/chat/completions"),
        ("/v1/completions", Op::Completions, "/v1/completions"),
        ("/v1/embeddings", Op::Embeddings, "/v1/embeddings"),
        ("/v1/responses", Op::Responses, "/v1/responses"),
        ("/v1/responses/compact", Op::ResponsesCompact, "/v1/responses/compact"),
        ("/v1/responses/input_tokens", Op::CountTokens, "/v1/responses/input_tokens"),
        ("/v1/responses/resp_1/cancel", Op::Stored, "/v1/responses/{id}/cancel"),
        ("/v1/images/generations", Op::Images, "/v1/images/generations"),
        ("/v1/images/edits", Op::Images, "/v1/images/edits"),
        ("/v1/images/variations", Op::Images, "/v1/images/variations"),
        ("/v1/audio/transcriptions", Op::Transcriptions, "/v1/audio/transcriptions"),
        ("/v1/audio/translations", Op::Translations, "/v1/audio/translations"),
        ("/v1/audio/speech", Op::Speech, "/v1/audio/speech"),
        ("/v1/moderations", Op::Moderations, "/v1/moderations"),
        ("/v1/messages", Op::Messages, "/v1/messages"),
        ("/v1/messages/count_tokens", Op::CountTokens, "/v1/messages/count_tokens"),
        ("/anthropic/v1/messages", Op::Messages, "/anthropic/v1/messages"),
        ("/chat/completions", Op::ChatCompletions, "/chat/completions"),
        ("/openai/v1/responses", Op::Responses, "/openai/v1/responses"),
        ("/openai/responses", Op::Responses, "/openai/responses"),
        (
            "/openai/deployments/x/chat/completions",
            Op::ChatCompletions,
            "/openai/deployments/{deployment}/chat/completions",
        ),
        ("/api/v1/chat/completions", Op::ChatCompletions, "/{*prefix}/v1/chat/completions"),
        ("/v1/files", Op::Unmetered, "/v1/{*path}"),
        ("/v1/decisions", Op::Decisions, "/v1/decisions"),
        ("/v1/batches", Op::Batches, "/v1/batches"),
        ("/v1/batches/batch_1/cancel", Op::Stored, "/v1/batches/{id}/cancel"),
        ("/v1/messages/batches", Op::Batches, "/v1/messages/batches"),
        ("/openai/deployments", Op::Unmetered, "/openai/{*path}"),
        ("/", Op::Unmetered, "/{*path}"),
        ("*", Op::Unmetered, "/{*path}"),
        ("", Op::Unmetered, "/{*path}"),
    ] {
        let endpoint = post(path);
        assert_eq!((endpoint.operation, endpoint.route), (operation, route), "{path}");
    }
}

#[test]
fn only_post_is_billed() {
    use Operation as Op;
    for (method, path, operation) in [
        (Method::GET, "/v1/chat/completions", Op::Stored),
        (Method::GET, "/v1/chat/completions/chatcmpl-1", Op::Stored),
        (Method::POST, "/v1/chat/completions/chatcmpl-1", Op::Stored),
        (Method::DELETE, "/v1/chat/completions/chatcmpl-1", Op::Stored),
        (Method::GET, "/v1/chat/completions/chatcmpl-1/messages", Op::Stored),
        (Method::GET, "/v1/responses/resp_1", Op::Stored),
        (Method::DELETE, "/v1/responses/resp_1", Op::Stored),
        (Method::GET, "/v1/responses/resp_1/input_items", Op::Stored),
        (Method::POST, "/v1/responses/resp_1", Op::Unmetered),
        (Method::GET, "/v1/responses", Op::Unmetered),
        (Method::GET, "/v1/embeddings", Op::Unmetered),
        (Method::OPTIONS, "/v1/chat/completions", Op::Unmetered),
        (Method::GET, "/v1/models", Op::Models),
        (Method::HEAD, "/v1/models/gpt-4o", Op::Models),
        (Method::GET, "/v1/models/org/name", Op::Models),
        (Method::POST, "/v1/models", Op::Unmetered),
    ] {
        assert_eq!(classify(&method, path).operation, operation, "{method} {path}");
    }
}

#[test]
fn only_an_answer_with_a_body_tells_of_a_stored_object() {
    for path in ["/v1/files/f/content", "/v1/messages/batches/b/results", "/v1/responses/r"] {
        let tells = |method| classify(&method, path).object.is_some();
        assert_eq!([Method::GET, Method::HEAD, Method::DELETE].map(tells), [true, false, false], "{path}");
    }
}

#[test]
fn wire_40_the_tail_keeps_the_clients_spelling() {
    for (path, style) in [
        ("/v1/chat/completions", v1("/chat/completions")),
        ("/v1/chat/completions/", v1("/chat/completions/")),
        ("/v1//chat//completions", v1("//chat//completions")),
        ("//v1/chat/completions", v1("/chat/completions")),
        ("/v1/./chat/completions", v1("/./chat/completions")),
        ("/v1/x/../chat/completions", v1("/x/../chat/completions")),
        ("/v1/models/org%2Fname", v1("/models/org%2Fname")),
        ("/v1/files/a%20b?", v1("/files/a%20b?")),
        ("/v1", v1("")),
        ("/anthropic/v1/messages", v1("/messages")),
        ("/chat/completions", v1("/chat/completions")),
        ("/openai/v1/chat/completions", PathStyle::AzureV1 { tail: "/chat/completions".into() }),
        ("/openai/files", PathStyle::Azure { tail: "/files".into() }),
        (
            "/openai/deployments/my%20gpt/chat/completions",
            PathStyle::AzureDeployment { deployment: "my%20gpt".into(), tail: "/chat/completions".into() },
        ),
        ("/api/v1/chat/completions", PathStyle::Other),
        ("/v1/../chat", PathStyle::Other),
        ("/health", PathStyle::Other),
    ] {
        assert_eq!(post(path).style, style, "{path}");
    }
    assert_eq!(post("/openai/deployments/my%20gpt/embeddings").deployment.as_deref(), Some("my gpt"));
}

#[test]
fn wire_40_no_spelling_dodges_the_books() {
    for path in [
        "/v1/chat/completions/",
        "//v1///chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat%2Fcompletions",
        "/v1%2fchat%2fcompletions",
        "/v1/chat/%2e/completions",
        "/v1/files/%2e%2e/chat/completions",
        "/V1/Chat/Completions",
        "/v1/../v1/chat/completions",
        "/gateway/team/v1/chat/completions",
    ] {
        assert_eq!(post(path).operation, Operation::ChatCompletions, "{path}");
    }
}

#[test]
fn messages_speak_anthropic_and_all_else_openai() {
    for (path, dialect) in [
        ("/v1/messages", Dialect::Anthropic),
        ("/v1/messages/batches", Dialect::Anthropic),
        ("/anthropic/v1/models", Dialect::Anthropic),
        ("/v1/models", Dialect::OpenAi),
        ("/v1/threads/x/messages", Dialect::OpenAi),
        ("/anything", Dialect::OpenAi),
    ] {
        assert_eq!(post(path).dialect, dialect, "{path}");
    }
}

#[test]
fn paths_of_stored_objects_that_may_tell_a_usage_name_them() {
    use ObjectKind as Kind;
    for (method, path, object) in [
        (Method::GET, "/v1/responses/resp_1", Some((Kind::Response, "resp_1"))),
        (Method::GET, "/openai/v1/responses/resp%5F1/", Some((Kind::Response, "resp_1"))),
        (Method::POST, "/v1//responses/resp_1/cancel", Some((Kind::Response, "resp_1"))),
        (Method::GET, "/v1/batches/batch_1", Some((Kind::Batch, "batch_1"))),
        (Method::GET, "/anthropic/v1/messages/batches/b", Some((Kind::Batch, "b"))),
        (Method::GET, "/v1/messages/batches/b/results", Some((Kind::Results, "b"))),
        (Method::GET, "/v1/files/file-1/content", Some((Kind::File, "file-1"))),
        (Method::GET, "/v1/responses/resp_1/input_items", None),
        (Method::GET, "/v1/chat/completions/chatcmpl-1", None),
        (Method::GET, "/v1/batches", None),
        (Method::POST, "/v1/responses", None),
        (Method::PUT, "/v1/responses/resp_1", None),
    ] {
        let found = classify(&method, path).object;
        let found = found.as_ref().map(|object| (object.kind, object.id.as_str()));
        assert_eq!(found, object, "{method} {path}");
    }
}

#[test]
fn every_operation_has_words_of_its_own() {
    let words: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|op| op.as_str()).collect();
    assert_eq!(words.len(), Operation::ALL.len());
    let formats: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|op| op.api_format()).collect();
    assert_eq!(formats.len(), Operation::ALL.len());
}

proptest::proptest! {
    #[test]
    fn any_path_is_classified_and_a_v1_tail_is_a_suffix_of_it(path in "[/.%a-zA-Z0-9é]{0,60}") {
        if let PathStyle::V1 { tail } = post(&path).style {
            proptest::prop_assert!(path.ends_with(&tail));
        }
    }
}

#[test]
fn a_path_as_the_table_spells_it_is_read_as_in_any_other_spelling() {
    for tail in known_tails().filter(|tail| !tail.contains('{')) {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let read = |spelt: &str| classify(&method, spelt);
            let (plain, odd) = (read(&format!("/v1/{tail}")), read(&format!("/v1/./{tail}")));
            let style = |tail: &str| PathStyle::V1 { tail: tail.to_owned() };
            assert_eq!(plain.style, style(&format!("/{tail}")), "{tail}");
            assert_eq!(odd.style, style(&format!("/./{tail}")), "{tail}");
            assert_eq!(plain, Endpoint { style: plain.style.clone(), ..odd }, "{method} {tail}");
        }
    }
}

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::router;
use crate::admin::openapi::DOCUMENT;
use crate::admin::{AdminApi, AdminState, Readiness};
use crate::base::chance::Chance;
use crate::signals::{Colours, Signals};

struct Books;

impl AdminApi for Books {
    fn budgets(&self) -> Value {
        json!({ "budgets": [] })
    }
    fn usage(&self, query: &BTreeMap<String, String>) -> Result<Value, String> {
        match query.get("by").map(String::as_str) {
            Some("fnord") => Err("by: `fnord` is not a column".into()),
            by => Ok(json!({ "rows": [], "by": by })),
        }
    }
    fn config(&self) -> Value {
        json!({ "generation": 1 })
    }
}

fn state(reasons: &[&str]) -> AdminState {
    let signals =
        Signals::start(&Default::default(), &Default::default(), &Chance::seeded(1), Colours::Never).unwrap();
    let reasons: Vec<String> = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    AdminState {
        signals: Arc::new(signals),
        readiness: Arc::new(move || Readiness { reasons: reasons.clone() }),
        api: Arc::new(Books),
        loopback: true,
    }
}

async fn ask(state: AdminState, method: &str, path: &str, host: &str) -> (StatusCode, String) {
    let request =
        Request::builder().method(method).uri(path).header("host", host).body(Body::empty()).unwrap();
    let answer = router(state).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(path: &str) -> (StatusCode, String) {
    ask(state(&[]), "GET", path, "localhost:4001").await
}

#[tokio::test]
async fn every_documented_path_is_served_and_every_served_path_is_documented() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let (_, index) = get("/").await;
    for path in document["paths"].as_object().unwrap().keys() {
        assert_eq!(get(path).await.0, StatusCode::OK, "{path}");
        assert!(index.contains(path.as_str()), "{path} is not on /");
    }
    let routes = include_str!("router.rs").matches(".route(").count();
    assert_eq!(routes, document["paths"].as_object().unwrap().len());
}

#[tokio::test]
async fn a_draining_process_is_alive_and_not_ready() {
    let (status, body) = ask(state(&["draining"]), "GET", "/readyz", "localhost").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"not_ready","reasons":["draining"]}"#)
    );
    assert_eq!(ask(state(&["draining"]), "GET", "/healthz", "localhost").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_is_a_json_404_and_what_is_not_get_a_405() {
    let (status, body) = get("/api/v1/fnord").await;
    assert_eq!((status, body.contains(r#""code":"not_found""#)), (StatusCode::NOT_FOUND, true), "{body}");
    let (status, body) = ask(state(&[]), "POST", "/api/v1/budgets", "localhost").await;
    assert_eq!(
        (status, body.contains("method_not_allowed")),
        (StatusCode::METHOD_NOT_ALLOWED, true),
        "{body}"
    );
}

#[tokio::test]
async fn a_name_that_was_pointed_at_loopback_is_turned_away() {
    for host in ["localhost", "LOCALHOST:4001", "127.0.0.1:4001", "[::1]:4001", "[::1]"] {
        assert_eq!(ask(state(&[]), "GET", "/healthz", host).await.0, StatusCode::OK, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:4001",
        "a@localhost",
        "",
        "0.0.0.0",
    ] {
        assert_eq!(ask(state(&[]), "GET", "/metrics", host).await.0, StatusCode::FORBIDDEN, "{host}");
    }
    let nameless = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    assert_eq!(router(state(&[])).oneshot(nameless).await.unwrap().status(), StatusCode::FORBIDDEN);
    let public = AdminState { loopback: false, ..state(&[]) };
    assert_eq!(ask(public, "GET", "/healthz", "tollgate.corp.example").await.0, StatusCode::OK);
}

#[tokio::test]
async fn usage_passes_the_query_on_and_says_what_is_wrong_with_it() {
    assert_eq!(get("/api/v1/usage?by=team,model").await.1, r#"{"rows":[],"by":"team,model"}"#);
    let (status, body) = get("/api/v1/usage?by=fnord").await;
    assert_eq!((status, body.contains("`fnord` is not a column")), (StatusCode::BAD_REQUEST, true), "{body}");
}

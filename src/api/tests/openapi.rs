//! The description of the API, and that it is true of what is served.

use std::collections::BTreeSet;

use actix_web::test::TestRequest;
use serde_json::json;

use super::*;
use crate::api::openapi::OPERATIONS;

async fn described(api: &Api) -> Value {
    let answer = api
        .send(remote(TestRequest::with_uri("/openapi.json")))
        .await;
    assert_eq!(answer.status, 200, "it needs no key: {}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

/// Every value under that key, however deep.
fn every<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|field| every(field, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| every(item, key, found)),
        _ => {}
    }
}

#[test]
fn every_call_of_the_description_is_served() {
    run(usual(), async |api| {
        let document = described(api).await;
        assert_eq!(document["openapi"], "3.1.0");
        let mut calls = 0;
        for operation in OPERATIONS.iter().copied().flatten() {
            api.publish("chat/a", "x").await;
            let path = operation.pattern.replace("{topic}", "chat%2Fa");
            let (path, of_sessions) = (
                path.replace("{session}", "000000000000002a")
                    .replace("{user}", "anna"),
                path.contains(['{']),
            );
            let method = operation.method.parse().unwrap();
            let request = TestRequest::with_uri(&path).method(method);
            let answer = api.send(local(request)).await;
            let (status, body) = (answer.status, answer.body);
            let told = format!("{} {path}: {status} {body}", operation.method);
            let is_described = status == 200 || operation.statuses().contains(&status);
            // Nobody is there.
            let is_there = status != 404 || of_sessions && body.contains("session");
            assert!(is_described && is_there, "{told}");
            let method = operation.method.to_lowercase();
            let described = &document["paths"][operation.pattern][&method];
            assert!(described["responses"]["200"].is_object(), "{told}");
            for status in operation.statuses() {
                let problem = &described["responses"][status.to_string()]["content"];
                assert!(problem["application/problem+json"].is_object(), "{told}");
            }
            calls += 1;
        }
        let described = document["paths"].as_object().unwrap().values();
        let described: usize = described.map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(calls, described, "each of them once");
    });
}

#[test]
fn too_many_wrong_keys_are_answered_as_it_is_described() {
    run(usual(), async |api| {
        for operation in OPERATIONS.iter().copied().flatten() {
            let path = operation.pattern.replace(['{', '}'], "");
            let mut status = 0;
            for _ in 0..200 {
                let request = TestRequest::with_uri(&path)
                    .method(operation.method.parse().unwrap())
                    .insert_header(("Authorization", "Bearer wrong"));
                status = api.send(local(request)).await.status;
                if status != 401 {
                    break;
                }
            }
            let told = format!("{} {path}: {status}", operation.method);
            let needs_key = path.starts_with("/v1/") || path == "/metrics";
            assert_eq!(status == 429, needs_key, "{told}");
            let is_described = status == 200 || operation.statuses().contains(&status);
            assert!(is_described, "{told}");
        }
    });
}

#[test]
fn the_methods_that_are_allowed_are_those_that_are_described() {
    run(usual(), async |api| {
        let document = described(api).await;
        for (pattern, methods) in document["paths"].as_object().unwrap() {
            let path = pattern.replace(['{', '}'], "");
            let request = TestRequest::with_uri(&path).method("TRACE".parse().unwrap());
            let answer = api.send(local(request)).await;
            answer.problem(405, "bad_request");
            let allowed: BTreeSet<_> = answer.header("allow").split(", ").collect();
            let mut described: BTreeSet<_> = methods
                .as_object()
                .unwrap()
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            if described.contains("GET") {
                described.insert("HEAD".to_owned());
            }
            assert_eq!(
                allowed,
                described.iter().map(String::as_str).collect(),
                "{path}"
            );
        }
    });
}

#[test]
fn the_description_holds_together() {
    run(usual(), async |api| {
        let document = described(api).await;
        let mut references = Vec::new();
        every(&document, "$ref", &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let mut names = Vec::new();
        every(&document, "operationId", &mut names);
        let distinct: BTreeSet<_> = names.iter().map(|name| name.as_str()).collect();
        assert_eq!(distinct.len(), names.len());
        for (pattern, methods) in document["paths"].as_object().unwrap() {
            let parts = pattern.split(['{', '}']).skip(1).step_by(2);
            let parts: BTreeSet<_> = parts.collect();
            for operation in methods.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array();
                let in_path = parameters
                    .into_iter()
                    .flatten()
                    .filter(|p| p["in"] == "path");
                let named: BTreeSet<_> = in_path.map(|p| p["name"].as_str().unwrap()).collect();
                assert_eq!(named, parts, "{pattern}");
                let is_open = operation.get("security").is_none();
                let needs_key = pattern.starts_with("/v1/");
                assert_eq!(is_open, !needs_key && pattern != "/metrics", "{pattern}");
            }
        }
        let read = json!([{"key": ["read"]}]);
        assert_eq!(document["paths"]["/v1/stats"]["get"]["security"], read);
    });
}

#[test]
fn the_metrics_are_described_where_they_are() {
    let mut config = usual();
    config.metrics.path = "/numbers".to_owned();
    run(config, async |api| {
        let document = described(api).await;
        assert!(document["paths"]["/numbers"]["get"].is_object());
        assert_eq!(document["paths"].get("/metrics"), None);
    });
}

//! Requests and answers as such: paths, media types, sizes, broken bodies.

use serde_json::{Value, json};

use super::client::*;

#[tokio::test(start_paused = true)]
async fn an_unknown_path_is_a_status_1() {
    let server = Server::new();
    for path in ["/nowhere", "/apis/gadgets.example.com/v1/things", "/api/v1/gadgets", "/api/v9"] {
        server.get(path).await.refusal(404, "NotFound");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_claim_is_named_2() {
    let answer = Server::new().get(&format!("{CLAIMS}/x")).await;
    assert_eq!(answer.refusal(404, "NotFound"), "persistentvolumeclaims \"x\" not found");
    assert_eq!(answer.json()["details"], json!({"name": "x", "kind": "persistentvolumeclaims"}));
}

#[tokio::test(start_paused = true)]
async fn a_missing_set_is_named_with_its_group_3() {
    let answer = Server::new().get(&format!("{SETS}/x")).await;
    assert_eq!(answer.refusal(404, "NotFound"), "statefulsets.apps \"x\" not found");
    assert_eq!(
        answer.json()["details"],
        json!({"name": "x", "group": "apps", "kind": "statefulsets"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_type_is_refused_4() {
    let server = Server::new();
    let post = server.call("POST", CLAIMS).header("content-type", "text/plain").body("x");
    let message = post.send().await.refusal(415, "UnsupportedMediaType");
    assert!(message.contains("accepted media types include: application/json, "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_type_nobody_has_is_refused_5() {
    let server = Server::new();
    let answer = server.call("GET", CLAIMS).header("accept", "text/html").send().await;
    let message = answer.refusal(406, "NotAcceptable");
    assert!(message.contains("application/json;stream=watch"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn json_is_the_answer_to_anything_and_nothing_6() {
    let server = Server::new();
    for accept in [None, Some("*/*"), Some("application/*"), Some("text/html, */*;q=0.1")] {
        let call = server.call("GET", CLAIMS);
        let call = accept.into_iter().fold(call, |call, accept| call.header("accept", accept));
        let answer = call.send().await;
        assert_eq!((answer.code, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.json()["kind"], "PersistentVolumeClaimList");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_refused_and_the_server_goes_on_7() {
    let server = Server::new();
    for body in ["{", "", "[]", "\"x\"", "{\"metadata\": 3}", "\u{0}", "{\"a\":"] {
        let call = server.call("POST", CLAIMS).header("content-type", "application/json");
        call.body(body).send().await.refusal(400, "BadRequest");
        let patch = server.call("PATCH", &format!("{CLAIMS}/x"));
        let patch = patch.header("content-type", "application/merge-patch+json").body(body);
        assert!(matches!(patch.send().await.code, 400 | 404), "{body}");
    }
    server.create(&claim("x")).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_over_three_mebibytes_is_refused_8() {
    let server = Server::new();
    let mut map = config_map("big");
    map["data"]["a"] = "x".repeat(3 * 1024 * 1024).into();
    let message = server.post(CONFIG_MAPS, &map).await.refusal(413, "RequestEntityTooLarge");
    assert_eq!(message, "Request entity too large: limit is 3145728");
    map["data"]["a"] = "x".repeat(1024 * 1024).into();
    assert_eq!(server.post(CONFIG_MAPS, &map).await.code, 201);
}

#[tokio::test(start_paused = true)]
async fn replacing_a_collection_is_not_allowed_10() {
    let message = Server::new().put(CLAIMS, &json!({})).await.refusal(405, "MethodNotAllowed");
    assert_eq!(message, "the server does not allow this method on the requested resource");
}

#[tokio::test(start_paused = true)]
async fn a_query_may_begin_with_an_ampersand_11() {
    let server = Server::new();
    for name in ["a", "b"] {
        server.create(&config_map(name)).await;
    }
    let list = server.get(&format!("{CONFIG_MAPS}?&limit=1")).await.ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn yaml_goes_in_and_out_13() {
    let server = Server::new();
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: \"yes\"\n";
    let call = server.call("POST", CONFIG_MAPS).header("content-type", "application/yaml");
    let answer = call.header("accept", "application/yaml").body(body).send().await;
    assert_eq!((answer.code, answer.header("content-type")), (201, "application/yaml"));
    let map: Value = serde_yaml::from_str(&answer.text()).expect("YAML");
    assert_eq!(map["data"], json!({"x": "yes"}));
    let missing = server.call("GET", &format!("{CONFIG_MAPS}/none"));
    let missing = missing.header("accept", "application/yaml").send().await;
    let status: Value = serde_yaml::from_str(&missing.text()).expect("YAML");
    assert_eq!(status["reason"], "NotFound");
}

#[tokio::test(start_paused = true)]
async fn head_and_options_do_no_harm_14() {
    let server = Server::new();
    let head = server.call("HEAD", CLAIMS).send().await;
    assert_eq!((head.code, head.bytes.len()), (200, 0));
    assert_eq!(server.call("OPTIONS", CLAIMS).send().await.code, 405);
    assert_eq!(server.call("TRACE", "/").send().await.code, 405);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_at_once_are_all_answered_15() {
    let server = Server::new();
    let maps: Vec<_> = (0..1000).map(|number| config_map(&format!("m{number}"))).collect();
    let answers =
        futures::future::join_all(maps.iter().map(|map| server.post(CONFIG_MAPS, map))).await;
    let mut versions: Vec<_> = answers.iter().map(|answer| version_of(&answer.ok())).collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 1000);
    let list = server.get(CONFIG_MAPS).await.ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_compressed_for_those_who_ask() {
    let server = Server::new();
    let mut map = config_map("big");
    map["data"]["a"] = "x".repeat(200_000).into();
    server.create(&map).await;
    let path = format!("{CONFIG_MAPS}/big");
    let plain = server.get(&path).await;
    let packed = server.call("GET", &path).header("accept-encoding", "gzip").send().await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(&packed.bytes[..]);
    std::io::Read::read_to_string(&mut reader, &mut text).expect("gzip");
    assert_eq!(text, plain.text());
}

#[tokio::test(start_paused = true)]
async fn pretty_answers_are_indented() {
    let answer = Server::new().get("/version?pretty=true").await;
    assert!(answer.text().starts_with("{\n  \"major\""), "{}", answer.text());
}

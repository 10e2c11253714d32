//! Generated messages, for every method of every service.

use std::time::Instant;

use prost_reflect::prost::Message as _;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::contract::Method;
use crate::neighbour::Neighbour;
use crate::raw::{self, Ask, framed};
use crate::scene::Scene;
use crate::server::{Kind, Server};
use crate::settings::Settings;
use crate::volley::Volley;

/// Messages a method.
const MESSAGES: usize = 2_000;
/// Where each look at what was written costs a process.
const FEWER_MESSAGES: usize = 120;
/// How much more memory the server may have in use afterwards.
const GROWTH: u64 = 64 << 20;

#[tokio::test]
async fn every_method_withstands_bad_messages_on_sqlite() {
    withstand(Kind::Sqlite, MESSAGES, "every_method_withstands_bad_messages_on_sqlite").await;
}

#[tokio::test]
async fn every_method_withstands_bad_messages_on_postgres() {
    withstand(Kind::Postgres, FEWER_MESSAGES, "every_method_withstands_bad_messages_on_postgres").await;
}

async fn withstand(kind: Kind, messages: usize, test: &str) {
    let settings = Settings::read();
    let messages = settings.messages(messages);
    let server = Server::start(kind).await;
    let neighbour = Neighbour::new(&server).await;
    let methods: Vec<Method> =
        Method::all().into_iter().filter(|method| settings.wants(&method.path)).collect();
    // What the process needs for calls of every kind it needs by then.
    let scene = Scene::new(&server).await;
    for method in &methods {
        Volley::new((&server, kind), &scene, method, &settings, test).await.warm_up(messages / 20).await;
    }
    let before = server.quarterdeck.resident_bytes().unwrap();
    // Those that only read leave a scene as it was, for the next.
    let (reading, writing): (Vec<_>, Vec<_>) = methods.iter().partition(|method| method.only_reads());
    let mut problems = Vec::new();
    for methods in std::iter::once(reading).chain(writing.into_iter().map(|method| vec![method])) {
        let scene = Scene::new(&server).await;
        let content = scene.foreign.content(&server).await;
        for method in methods {
            let started = Instant::now();
            let volley = Volley::new((&server, kind), &scene, method, &settings, test).await;
            problems.extend(volley.fire(messages).await);
            if scene.foreign.content(&server).await != content {
                problems.push(format!("{}: something of another project was changed", method.path));
            }
            let resident = server.quarterdeck.resident_bytes().unwrap();
            println!("    {:?}, {} MiB", started.elapsed(), resident >> 20);
        }
        assert_eq!(scene.foreign.at_work(), 2);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    server.is_sound();
    neighbour.noticed_nothing().await;
    let after = server.quarterdeck.resident_bytes().unwrap();
    assert!(after < before + GROWTH, "from {} to {} MiB of memory", before >> 20, after >> 20);
}

#[tokio::test]
async fn no_service_is_left_out() {
    let server = Server::start(Kind::Sqlite).await;
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let ask = Ask::new(path, vec![framed(&request.encode_to_vec())]);
    let answer = raw::exchange(&server.line().await, ask).await.unwrap();
    let answer = ServerReflectionResponse::decode(answer.messages[0].clone()).unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services: {answer:?}")
    };
    let mut served: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    let mut known: Vec<String> = Method::all().iter().map(|method| method.service().to_owned()).collect();
    served.sort();
    known.sort();
    known.dedup();
    assert_eq!(served, known);
}

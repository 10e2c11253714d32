//! Calls with bytes that no generated client would send.

use bytes::{Buf, BufMut, Bytes};
use quarterdeck_client::{Client, Config};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// Path of CreateTask.
pub const CREATE_TASK: &str = "/quarterdeck.orchestration.v1.TaskService/CreateTask";

/// Calls `path` with these bytes as the message.
pub async fn call(config: &Config, path: &'static str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
    let channel = Endpoint::from_shared(config.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(message.into());
    if let Some(credential) = &config.credential {
        let value = format!("Bearer {credential}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(request, path, AsTheyAre).await?;
    Ok(answer.into_inner())
}

/// As [`call`], with the settings of a client.
pub async fn call_as(
    client: &Client,
    path: &'static str,
    message: impl Into<Bytes>,
) -> Result<Bytes, Status> {
    call(client.config(), path, message).await
}

/// Messages are bytes.
#[derive(Default)]
struct AsTheyAre;

impl Codec for AsTheyAre {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

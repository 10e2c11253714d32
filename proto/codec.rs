//! The codec of every stub: encodes with prost; decodes requests only after the
//! wire [`guard`] has passed them.
//!
//! Invariant: a handler never sees a request that breaks the contract's rules.
//! Refusals are INVALID_ARGUMENT with an `ErrorInfo` (MESSAGE_MALFORMED or
//! FIELDS_INVALID) and, for the latter, a `BadRequest` that names the fields.
//! This is the one place besides the server's status mapping that builds statuses,
//! because it runs below every layer of the server.
//!
//! Responses are decoded as they come: clients must tolerate newer servers.
//! The size limit is not here either: tonic refuses longer messages before the
//! decoder is asked (OUT_OF_RANGE, no `ErrorInfo`), at the limit that the server
//! sets on each service; mapping that to MESSAGE_TOO_LARGE is the server's.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::Message;
use prost_reflect::ReflectMessage;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstEncoder;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::guard::{self, Broken, MessageRules, Violation};

/// Domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "quarterdeck.dev";

/// Most bytes of text in the violations of one status. Statuses travel in
/// trailers, where peers commonly refuse more than 8 KiB, encoded by base64.
const MAX_VIOLATION_TEXT: usize = 3 * 1024;

/// Encodes `T`, decodes `U`.
pub struct ProtoCodec<T, U>(PhantomData<fn(T) -> U>);

impl<T, U> Default for ProtoCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Clone for ProtoCodec<T, U> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T, U> fmt::Debug for ProtoCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProtoCodec")
    }
}

impl<T, U> Codec for ProtoCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + ReflectMessage + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder::default()
    }
}

/// Guards and decodes messages of one type.
pub struct ProtoDecoder<U> {
    check: Check,
    message: PhantomData<fn() -> U>,
}

#[derive(Clone, Copy)]
enum Check {
    Guarded(MessageRules<'static>),
    /// A response.
    Trusted,
    /// A request without rules: the server should not have started.
    Impossible(&'static str),
}

impl<U: ReflectMessage + Default> Default for ProtoDecoder<U> {
    fn default() -> Self {
        let descriptor = U::default().descriptor();
        let check = if !descriptor.name().ends_with("Request") {
            Check::Trusted
        } else {
            match guard::rules(descriptor.full_name()) {
                Ok(Some(rules)) => Check::Guarded(rules),
                Ok(None) => Check::Impossible("the request has no rules"),
                Err(problem) => Check::Impossible(problem),
            }
        };
        Self { check, message: PhantomData }
    }
}

impl<U: Message + Default> ProtoDecoder<U> {
    fn decode_bytes(&self, bytes: Bytes) -> Result<U, Status> {
        match self.check {
            Check::Guarded(rules) => guard::check(&rules, &bytes).map_err(refusal)?,
            Check::Trusted => {}
            Check::Impossible(problem) => return Err(status(Code::Internal, problem, "INTERNAL", None)),
        }
        U::decode(bytes).map_err(|error| refusal(Broken::Malformed(error.to_string())))
    }
}

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Takes the bytes out of tonic's buffer without copying them.
        let bytes = buf.copy_to_bytes(buf.remaining());
        self.decode_bytes(bytes).map(Some)
    }
}

/// The status for a message that the guard refused.
pub fn refusal(broken: Broken) -> Status {
    match broken {
        Broken::Malformed(problem) => {
            let message = format!("the message cannot be read: {problem}");
            status(Code::InvalidArgument, &message, "MESSAGE_MALFORMED", None)
        }
        Broken::Rules(violations) => {
            let message = match violations.as_slice() {
                [one] => format!("{} {}", place(one), one.description),
                [first, rest @ ..] => {
                    format!("{} {} (and {} more)", place(first), first.description, rest.len())
                }
                [] => "fields are invalid".to_string(),
            };
            let fields = shown(&violations);
            status(Code::InvalidArgument, &message, "FIELDS_INVALID", Some(fields))
        }
    }
}

fn place(violation: &Violation) -> &str {
    match violation.field.as_str() {
        "" => "the message",
        field => field,
    }
}

/// The first violations, at least one, that fit into a trailer.
fn shown(violations: &[Violation]) -> Vec<FieldViolation> {
    let mut left = MAX_VIOLATION_TEXT;
    let mut fields = Vec::new();
    for violation in violations {
        let description = format!("{} [{}]", violation.description, violation.rule);
        let size = violation.field.len() + description.len();
        if size > left && !fields.is_empty() {
            break;
        }
        left = left.saturating_sub(size);
        fields.push(FieldViolation::new(violation.field.as_str(), description));
    }
    fields
}

fn status(code: Code, message: &str, reason: &str, fields: Option<Vec<FieldViolation>>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, ERROR_DOMAIN, std::collections::HashMap::new());
    if let Some(fields) = fields {
        details.set_bad_request(fields);
    }
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::Full;
    use tonic::{Request, Response};
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::operations::v1::key_service_server::{KeyService, KeyServiceServer};
    use crate::operations::v1::{
        CreateKeyRequest, CreateKeyResponse, Key, ListKeysRequest, ListKeysResponse, RevokeKeyRequest,
        RevokeKeyResponse,
    };

    struct Keys;

    #[tonic::async_trait]
    impl KeyService for Keys {
        async fn create_key(
            &self,
            _: Request<CreateKeyRequest>,
        ) -> Result<Response<CreateKeyResponse>, Status> {
            Err(Status::already_exists("the handler was reached"))
        }

        async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn revoke_key(
            &self,
            _: Request<RevokeKeyRequest>,
        ) -> Result<Response<RevokeKeyResponse>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    /// Calls CreateKey of the generated server with these bytes as its message.
    async fn create_key(message: &[u8]) -> Status {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(message);
        let request = http::Request::post("/quarterdeck.operations.v1.KeyService/CreateKey")
            .header("content-type", "application/grpc")
            .body(tonic::body::Body::new(Full::new(Bytes::from(frame))))
            .unwrap();
        let call = KeyServiceServer::new(Keys).max_decoding_message_size(4 << 20).oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(10), call).await.unwrap().unwrap();
        Status::from_header_map(response.headers()).unwrap()
    }

    fn valid() -> CreateKeyRequest {
        CreateKeyRequest { display_name: "ci".into(), roles: vec![1], ..Default::default() }
    }

    #[tokio::test]
    async fn a_valid_request_reaches_its_handler() {
        let status = create_key(&valid().encode_to_vec()).await;
        assert_eq!(status.code(), Code::AlreadyExists);
    }

    #[tokio::test]
    async fn broken_rules_are_invalid_argument_and_name_their_fields() {
        let request = CreateKeyRequest { roles: vec![0], ..valid() };
        let status = create_key(&request.encode_to_vec()).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("roles[0] must be one of ROLE_VIEWER (1), "), "{status}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("FIELDS_INVALID", ERROR_DOMAIN));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.len(), 1);
        assert_eq!(fields[0].field, "roles[0]");
        assert!(fields[0].description.ends_with("[enum.not_in]"));
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_read_is_invalid_argument_not_internal() {
        let messages: [&[u8]; 3] = [b"\x12\x05ci", b"\x12\x02\xff\xff", b"\x10\x01"];
        for message in messages {
            let status = create_key(message).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{message:x?}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), ("MESSAGE_MALFORMED", ERROR_DOMAIN));
            assert!(status.get_details_bad_request().is_none());
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_by_the_transport() {
        let status = create_key(&vec![0; (4 << 20) + 1]).await;
        assert_eq!(status.code(), Code::OutOfRange);
    }

    #[test]
    fn the_worst_status_fits_into_a_trailer() {
        let violation = Violation {
            field: "f".repeat(259),
            rule: "repeated.max_items".into(),
            description: "d".repeat(400),
        };
        let status = refusal(Broken::Rules(vec![violation; 20]));
        assert!(status.details().len() * 4 / 3 + status.message().len() < 6 * 1024);
        let shown = status.get_details_bad_request().unwrap().field_violations.len();
        assert!((1..20).contains(&shown), "{shown}");
        assert!(status.message().ends_with("(and 19 more)"));
    }

    #[test]
    fn responses_are_decoded_without_rules() {
        let key = Key { display_name: "a\0".into(), ..Default::default() };
        let response = CreateKeyResponse { key: Some(key), secret: String::new() };
        let bytes = Bytes::from(response.encode_to_vec());
        let decoded = ProtoDecoder::<CreateKeyResponse>::default().decode_bytes(bytes);
        assert_eq!(decoded.unwrap(), response);
    }
}

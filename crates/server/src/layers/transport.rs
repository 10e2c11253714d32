//! Is this a gRPC call at all? Answers what is not in plain HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tonic::body::Body;

const HINT: &str = "This port speaks gRPC over HTTP/2. Use a gRPC client, such as `quarterdeck health`.\n";

/// The plain HTTP answer to a request that is no gRPC call.
pub fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.version() != Version::HTTP_2 {
        return Some(text(StatusCode::UPGRADE_REQUIRED, Some((UPGRADE, "h2c"))));
    }
    if request.method() != Method::POST {
        return Some(text(StatusCode::METHOD_NOT_ALLOWED, None));
    }
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, None));
    }
    None
}

/// `application/grpc`, `application/grpc+proto` or either with parameters.
fn is_grpc(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let essence = bytes.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/grpc")
        || essence.eq_ignore_ascii_case(b"application/grpc+proto")
}

fn text(code: StatusCode, header: Option<(http::HeaderName, &'static str)>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(HINT.as_bytes()))));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some((name, value)) = header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_grpc_call_is_answered_in_http() {
        let cases = [
            (Version::HTTP_2, "POST", "application/grpc", None),
            (Version::HTTP_2, "POST", "application/grpc+proto", None),
            (Version::HTTP_2, "POST", "application/grpc; x=y", None),
            (Version::HTTP_2, "POST", "application/grpc-web", Some(415)),
            (Version::HTTP_2, "POST", "application/json", Some(415)),
            (Version::HTTP_2, "GET", "application/grpc", Some(405)),
            (Version::HTTP_11, "POST", "application/grpc", Some(426)),
        ];
        for (version, method, content_type, code) in cases {
            let request = Request::builder().version(version).method(method);
            let request = request.header(CONTENT_TYPE, content_type).body(()).unwrap();
            let answered = refuse(&request).map(|response| response.status().as_u16());
            assert_eq!(answered, code, "{version:?} {method} {content_type}");
        }
    }
}

//! Answers of servers that do not speak S3, and how much of an answer is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::printable::said;

/// Why an answer is no S3 server's, in words that follow "it"; `None` if it may be one's. `code` is what
/// the SDK has read from it.
pub fn foreign(answer: &HttpResponse, code: Option<&str>) -> Option<String> {
    let status = answer.status().as_u16();
    // A load balancer says such things in whatever form.
    let is_overloaded = status >= 500 && !matches!(status, 501 | 505);
    if code.is_some() || is_overloaded || matches!(status, 408 | 429) {
        return None;
    }
    let headers = answer.headers();
    if (300..400).contains(&status) && headers.get("x-amz-bucket-region").is_none() {
        return Some(match headers.get("location") {
            Some(to) => format!("redirects to `{}`", said(to)),
            None => "redirects without saying where".to_owned(),
        });
    }
    let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default());
    let body = body.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let is_page = headers.get("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if is_page || body.starts_with("<!doctype html") || body.starts_with("<html") {
        return Some("answers with a web page".to_owned());
    }
    (!body.is_empty() && !body.starts_with('<')).then(|| "answers with something else".to_owned())
}

/// The most that is read of an answer that refuses something, in bytes.
const MAX_ERROR: u64 = 64 << 10;

/// The most that is read of an answer that is no object, in bytes. A thousand keys of a listing have at most
/// 6 KiB each when all of their characters are escaped.
const MAX_ANSWER: u64 = 16 << 20;

/// Ends answers where no answer of S3 would go on.
#[derive(Debug)]
pub struct LimitAnswers;

impl Intercept for LimitAnswers {
    fn name(&self) -> &'static str {
        "LimitAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(Metadata::name);
        let response = context.response_mut();
        let limit = match (response.status().is_success(), operation) {
            (false, _) => MAX_ERROR,
            (true, Some("GetObject")) => return Ok(()),
            (true, _) => MAX_ANSWER,
        };
        let body = response.take_body();
        *response.body_mut() = match body.bytes() {
            Some(_) => body,
            None => SdkBody::from_body_1_x(Limited { body, left: limit }),
        };
        Ok(())
    }
}

/// A body that ends after so many bytes.
struct Limited {
    body: SdkBody,
    left: u64,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            Ok(match frame.into_data() {
                Ok(mut data) => {
                    data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= data.len() as u64;
                    Frame::data(data)
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

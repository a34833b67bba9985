//! How much of a request has left.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::progress::Progress;

/// How much is handed to the connection at once, in bytes: little enough that slow connections take it in
/// less time than a stall.
const PIECE: usize = 16 << 10;

/// Counts what the connection takes of a request's body. The body was signed before.
#[derive(Debug)]
pub struct CountSent(pub Progress);

impl Intercept for CountSent {
    fn name(&self) -> &'static str {
        "CountSent"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let body = request.take_body();
        let counted = Counted { body, rest: Bytes::new(), progress: self.0.clone() };
        *request.body_mut() = SdkBody::from_body_1_x(counted);
        Ok(())
    }
}

/// A body in small pieces.
struct Counted {
    body: SdkBody,
    rest: Bytes,
    progress: Progress,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.progress.step();
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.content_length() {
            Some(length) => SizeHint::with_exact(length + rest),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_leaves_in_pieces_that_count() {
        for size in [0, 1, PIECE, 5 * PIECE + 1] {
            let content = vec![7; size];
            let progress = Progress::default();
            let body = SdkBody::from(content.clone());
            let mut counted = Counted { body, rest: Bytes::new(), progress: progress.clone() };
            assert_eq!(counted.size_hint().exact(), Some(size as u64));
            let mut read = Vec::new();
            while let Some(frame) = counted.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= PIECE);
                read.extend_from_slice(&data);
                assert_eq!(counted.size_hint().exact(), Some((size - read.len()) as u64));
            }
            assert!(read == content);
            assert_eq!(progress.steps(), size.div_ceil(PIECE) as u64);
            assert!(counted.is_end_stream());
        }
    }
}

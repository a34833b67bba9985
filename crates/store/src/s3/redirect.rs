//! Requests that go where somebody has signed them for.

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use crate::grant::PresignedUrl;

/// Sends a request to the address that somebody has signed, instead of signing it here.
#[derive(Debug)]
pub struct Redirect(pub Option<PresignedUrl>);

impl Intercept for Redirect {
    fn name(&self) -> &'static str {
        "Redirect"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(PresignedUrl { url, headers }) = &self.0 else { return Ok(()) };
        let request = context.request_mut();
        request.set_uri(url.as_str())?;
        // S3 refuses headers of its own that were not signed.
        let own: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .filter(|name| name.starts_with("x-amz-") || name.starts_with("amz-sdk-"))
            .collect();
        for name in own {
            request.headers_mut().remove(name);
        }
        for (name, value) in headers {
            request.headers_mut().try_insert(name.clone(), value.clone())?;
        }
        Ok(())
    }
}

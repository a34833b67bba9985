//! The SDK's client, set up for a location.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};

use super::super::{S3Location, StoreError, StoreOptions};
use super::answer::LimitAnswers;
use super::authority;
use super::remote::Remote;

/// What servers of one's own answer to that do not care.
const ANY_REGION: &str = "us-east-1";

pub async fn connect(location: &S3Location, options: &StoreOptions) -> Result<Remote, StoreError> {
    // How long an answer may take is bounded for each request: a limit here would count the time in which a
    // large body is sent.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(std::time::Duration::from_secs(3).min(options.stall))
        .build();
    let stalls =
        StalledStreamProtectionConfig::enabled().upload_enabled(true).grace_period(options.stall);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .stalled_stream_protection(stalls.build());
    let given = location.region.clone().map(Region::new);
    loader = match &location.endpoint {
        // Not the metadata of a machine in a cloud, which is asked over the network: an endpoint is
        // a server of one's own.
        Some(endpoint) => loader.endpoint_url(endpoint).region(
            RegionProviderChain::first_try(given)
                .or_else(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(Region::new(ANY_REGION)),
        ),
        None => loader.region(RegionProviderChain::first_try(given).or_default_provider()),
    };
    if let Some(credentials) = &location.credentials {
        loader = loader.credentials_provider(Credentials::new(
            &credentials.key,
            &credentials.secret,
            None,
            None,
            "the cache's address",
        ));
    }
    let is_plain = location.endpoint.as_deref().is_some_and(|at| at.starts_with("http://"));
    if let Some(bundle) = std::env::var_os(authority::VARIABLE)
        && !is_plain
        && !bundle.is_empty()
    {
        loader = loader.http_client(authority::client(&bundle)?);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(StoreError::Misconfigured(format!(
            "the region of bucket `{}` is not known, add `region=` to the cache's address or set `AWS_REGION`",
            location.bucket
        )));
    }
    let config = aws_sdk_s3::config::Builder::from(&config)
        .retry_config(RetryConfig::disabled())
        .interceptor(LimitAnswers)
        // A server of one's own seldom has a name for each bucket.
        .force_path_style(location.endpoint.is_some())
        // Older servers refuse the checksums that the SDK adds by itself; archives have their own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    let client = Client::from_conf(config);
    let (stall, retry) = (options.stall, options.retry);
    Ok(Remote { client, location: location.clone(), stall, retry })
}

//! The SDK's client, set up for a location.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};

use super::answer::LimitAnswers;
use super::authority;
use super::remote::Remote;
use crate::error::StoreError;
use crate::location::S3Location;
use crate::options::StoreOptions;

/// What servers of one's own answer to that do not care.
const ANY_REGION: &str = "us-east-1";

/// A client without credentials, for requests that somebody else has signed.
pub async fn anonymous(location: S3Location, options: &StoreOptions) -> Result<Remote, StoreError> {
    let mut loader = loader(options).no_credentials().region(Region::new(ANY_REGION));
    if let Some(client) = trusting(&location)? {
        loader = loader.http_client(client);
    }
    if let Some(endpoint) = &location.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let config = builder(&loader.load().await).allow_no_auth().force_path_style(true).build();
    Ok(remote(Client::from_conf(config), location, options))
}

fn remote(client: Client, location: S3Location, options: &StoreOptions) -> Remote {
    let StoreOptions { stall, budget, retry, .. } = *options;
    Remote { client, location, stall, retry, budget, granted: None }
}

/// With the timeouts that all requests have.
fn loader(options: &StoreOptions) -> ConfigLoader {
    // How long an answer may take is bounded for each request: a limit here would count the time in which a
    // large body is sent.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(std::time::Duration::from_secs(3).min(options.stall))
        .build();
    let stalls =
        StalledStreamProtectionConfig::enabled().upload_enabled(true).grace_period(options.stall);
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .stalled_stream_protection(stalls.build())
}

fn builder(config: &SdkConfig) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .interceptor(LimitAnswers)
        // Older servers refuse the checksums that the SDK adds by itself; archives have their own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// A client that trusts the authorities that the user has named, if any.
fn trusting(location: &S3Location) -> Result<Option<SharedHttpClient>, StoreError> {
    let is_plain = location.endpoint.as_deref().is_some_and(|at| at.starts_with("http://"));
    let bundle = std::env::var_os(authority::VARIABLE).filter(|bundle| !bundle.is_empty());
    bundle.filter(|_| !is_plain).map(|bundle| authority::client(&bundle)).transpose()
}

pub async fn connect(location: &S3Location, options: &StoreOptions) -> Result<Remote, StoreError> {
    let mut loader = loader(options);
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
    if let Some(client) = trusting(location)? {
        loader = loader.http_client(client);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(StoreError::Misconfigured(format!(
            "the region of bucket `{}` is not known, add `region=` to the cache's address or set `AWS_REGION`",
            location.bucket
        )));
    }
    // A server of one's own seldom has a name for each bucket.
    let config = builder(&config).force_path_style(location.endpoint.is_some()).build();
    let client = Client::from_conf(config);
    Ok(remote(client, location.clone(), options))
}

//! Certificates of authorities that the user trusts instead of the system's.

use std::ffi::OsStr;
use std::fs;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::StoreError;

/// What AWS's own tools read too; the SDK for Rust does not.
pub const VARIABLE: &str = "AWS_CA_BUNDLE";

/// A client that trusts the authorities in a file, and no others.
pub fn client(bundle: &OsStr) -> Result<SharedHttpClient, StoreError> {
    let wrong = |reason: String| {
        let path = bundle.display();
        StoreError::Misconfigured(format!(
            "cannot use `{path}`, which `{VARIABLE}` names: {reason}"
        ))
    };
    let text = fs::read_to_string(bundle).map_err(|error| wrong(error.to_string()))?;
    let mut store = TrustStore::empty();
    let mut count = 0;
    // The SDK panics at what it cannot parse, and bundles of systems may have odd ones among them.
    for certificate in certificates(&text).filter(|certificate| is_usable(certificate)) {
        store.add_pem_certificate(certificate);
        count += 1;
    }
    if count == 0 {
        return Err(wrong("it has no certificate of an authority".to_owned()));
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| wrong(error.to_string()))?;
    let provider = Provider::Rustls(CryptoMode::AwsLc);
    Ok(Builder::new().tls_provider(provider).tls_context(context).build_https())
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

fn certificates(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(start, _)| {
        let length = text[start..].find(END)? + END.len();
        Some(&text[start..start + length])
    })
}

fn is_usable(certificate: &str) -> bool {
    CertificateDer::from_pem_slice(certificate.as_bytes())
        .is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}

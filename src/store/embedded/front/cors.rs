//! A bucket's CORS configuration, in S3's terms.

use s3s::{
    S3Result,
    dto::{CORSConfiguration, CORSRule, GetBucketCorsOutput},
    s3_error,
};

use super::Front;
use crate::store::embedded::disk::CorsRule;

/// The most rules of a bucket.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>
const MAX_RULES: usize = 100;
/// The methods that a rule may name.
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

impl Front {
    pub(super) async fn put_cors(&self, bucket: String, configuration: CORSConfiguration) -> S3Result<()> {
        let rules = configuration.cors_rules;
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(s3_error!(MalformedXML, "a configuration has 1 to {MAX_RULES} rules"));
        }
        let rules = rules.into_iter().map(rule).collect::<S3Result<Vec<_>>>()?;
        self.on_disk(move |disk| disk.put_cors(&bucket, &rules)).await
    }

    pub(super) async fn get_cors(&self, bucket: String) -> S3Result<GetBucketCorsOutput> {
        let rules = self.on_disk(move |disk| disk.cors(&bucket)).await?;
        if rules.is_empty() {
            return Err(s3_error!(NoSuchCORSConfiguration));
        }
        Ok(GetBucketCorsOutput { cors_rules: Some(rules.into_iter().map(said).collect()) })
    }
}

fn rule(rule: CORSRule) -> S3Result<CorsRule> {
    if let Some(method) = rule.allowed_methods.iter().find(|m| !METHODS.contains(&m.as_str())) {
        return Err(s3_error!(InvalidRequest, "{method:?} cannot be allowed"));
    }
    let patterns = || rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten());
    if patterns().any(|pattern| pattern.matches('*').count() > 1) {
        return Err(s3_error!(InvalidRequest, "an origin or a header has at most one *"));
    }
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        exposed: rule.expose_headers.unwrap_or_default(),
        max_age_secs: rule.max_age_seconds,
    })
}

fn said(rule: CorsRule) -> CORSRule {
    CORSRule {
        id: rule.id,
        allowed_origins: rule.origins,
        allowed_methods: rule.methods,
        allowed_headers: Some(rule.headers).filter(|headers| !headers.is_empty()),
        expose_headers: Some(rule.exposed).filter(|exposed| !exposed.is_empty()),
        max_age_seconds: rule.max_age_secs,
    }
}

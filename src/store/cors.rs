//! Which web pages may send straight to the bucket: its CORS configuration.

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    types::{CorsConfiguration, CorsRule as SdkRule},
};
use serde_json::{Value, json};

use super::{Store, StoreError};

/// How long a browser may remember the answer to a preflight, in seconds; no
/// browser keeps it for longer than two hours or a day.
const MAX_AGE_SECS: i32 = 3600;

/// A rule of the bucket's CORS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRule {
    /// The origins that it is for.
    pub origins: Vec<String>,
    /// The methods that it allows.
    pub methods: Vec<String>,
    /// The request headers that it allows.
    pub headers: Vec<String>,
    /// The response headers that it shows to scripts.
    pub exposed: Vec<String>,
}

impl CorsRule {
    /// What a page of `origin` needs in order to use the grants of [`Store`].
    pub fn for_uploads(origin: &str) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            origins: owned(&[origin]),
            methods: owned(&["POST", "PUT"]),
            // In lower case as browsers ask for them: Garage compares letter by letter.
            headers: owned(&["content-type", "x-amz-checksum-sha256"]),
            exposed: owned(&["ETag"]),
        }
    }

    /// The configuration that lets these origins upload, as `aws s3api put-bucket-cors` takes it.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSConfiguration.html>
    pub fn document(origins: &[impl AsRef<str>]) -> Value {
        let rules = origins.iter().map(|origin| Self::for_uploads(origin.as_ref())).map(|rule| {
            json!({
                "AllowedOrigins": rule.origins,
                "AllowedMethods": rule.methods,
                "AllowedHeaders": rule.headers,
                "ExposeHeaders": rule.exposed,
                "MaxAgeSeconds": MAX_AGE_SECS,
            })
        });
        json!({ "CORSRules": rules.collect::<Vec<_>>() })
    }

    /// Whether pages of `origin` may upload by these rules, however they are put together: a preflight
    /// is answered by the first rule that allows its origin, its method and all its headers.
    pub fn let_upload(rules: &[Self], origin: &str) -> bool {
        let needed = Self::for_uploads(origin);
        needed.methods.iter().all(|method| {
            rules.iter().any(|rule| {
                rule.methods.contains(method)
                    && rule.origins.iter().any(|pattern| like(pattern, origin))
                    && needed.headers.iter().all(|name| {
                        rule.headers.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), name))
                    })
            })
        })
    }
}

/// Whether `text` is the pattern, in which one `*` stands for anything.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

impl Store {
    /// Lets pages of these origins, and no others, send with grants. One rule an
    /// origin, since Garage answers with all origins of a rule at once, which no
    /// browser understands.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html>
    pub async fn put_cors(&self, allowed_origins: &[impl AsRef<str>]) -> Result<(), StoreError> {
        if allowed_origins.is_empty() {
            return self.delete_cors().await;
        }
        let rules = allowed_origins.iter().map(|origin| {
            let rule = CorsRule::for_uploads(origin.as_ref());
            SdkRule::builder()
                .set_allowed_origins(Some(rule.origins))
                .set_allowed_methods(Some(rule.methods))
                .set_allowed_headers(Some(rule.headers))
                .set_expose_headers(Some(rule.exposed))
                .max_age_seconds(MAX_AGE_SECS)
                .build()
        });
        let unsendable = |e| StoreError::Rejected(format!("not a CORS configuration: {e}"));
        let rules = rules.collect::<Result<Vec<_>, _>>().map_err(unsendable)?;
        let configuration = CorsConfiguration::builder().set_cors_rules(Some(rules)).build();
        let sent = self
            .client
            .put_bucket_cors()
            .bucket(&self.settings.bucket)
            .cors_configuration(configuration.map_err(unsendable)?)
            .send();
        sent.await.map_err(|e| StoreError::from_sdk(&e, ""))?;
        Ok(())
    }

    /// The rules that the bucket has; none if it was never told any.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketCors.html>
    pub async fn get_cors(&self) -> Result<Vec<CorsRule>, StoreError> {
        let sent = self.client.get_bucket_cors().bucket(&self.settings.bucket).send();
        let found = match sent.await {
            Ok(found) => found,
            Err(SdkError::ServiceError(e)) if e.err().code() == Some("NoSuchCORSConfiguration") => {
                return Ok(vec![]);
            }
            // Garage says so with 204 and no document.
            Err(SdkError::ServiceError(e)) if e.raw().status().as_u16() == 204 => return Ok(vec![]),
            Err(SdkError::ResponseError(e)) if e.raw().status().as_u16() == 204 => return Ok(vec![]),
            Err(error) => return Err(StoreError::from_sdk(&error, "")),
        };
        let rules = found.cors_rules.unwrap_or_default().into_iter().map(|rule| CorsRule {
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            exposed: rule.expose_headers.unwrap_or_default(),
        });
        Ok(rules.collect())
    }

    /// An empty configuration is not one, for S3.
    async fn delete_cors(&self) -> Result<(), StoreError> {
        let sent = self.client.delete_bucket_cors().bucket(&self.settings.bucket).send();
        sent.await.map_err(|e| StoreError::from_sdk(&e, ""))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_once() {
        assert!(like("*", "https://app.example"));
        assert!(like("https://*.example", "https://app.example"));
        assert!(like("x-amz-*", "x-amz-"));
        for (pattern, other) in [
            ("https://app.example", "https://app.example.evil"),
            ("https://*.example", "https://app.example.evil"),
            ("https://*.example", "http://app.example"),
            // The two halves must not share letters.
            ("aba*aba", "aba"),
            ("", "x"),
        ] {
            assert!(!like(pattern, other), "{pattern} {other}");
        }
    }

    #[test]
    fn rules_let_upload_what_they_cover_in_whatever_form() {
        const OURS: &str = "https://app.example";
        let rule = |origin: &str, methods: &[&str], headers: &[&str]| CorsRule {
            origins: vec![origin.to_owned()],
            methods: methods.iter().map(|&m| m.to_owned()).collect(),
            headers: headers.iter().map(|&h| h.to_owned()).collect(),
            exposed: vec![],
        };
        let both = ["Content-Type", "x-amz-checksum-sha256"];
        for rules in [
            vec![CorsRule::for_uploads(OURS)],
            vec![CorsRule::for_uploads("https://other.example"), CorsRule::for_uploads(OURS)],
            vec![rule("*", &["GET", "PUT", "POST"], &["*"])],
            vec![rule("https://*.example", &["PUT"], &both), rule(OURS, &["POST"], &both)],
        ] {
            assert!(CorsRule::let_upload(&rules, OURS), "{rules:?}");
        }
        for rules in [
            vec![],
            vec![CorsRule::for_uploads("https://other.example")],
            vec![rule(OURS, &["PUT"], &both)],
            vec![rule(OURS, &["PUT", "POST"], &both[..1])],
            // What one rule lacks, another of other methods does not bring.
            vec![rule(OURS, &["PUT", "POST"], &both[..1]), rule(OURS, &["GET"], &both)],
        ] {
            assert!(!CorsRule::let_upload(&rules, OURS), "{rules:?}");
        }
    }
}

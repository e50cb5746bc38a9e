//! S3's operations, translated to the data folder and back.

mod cors;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use http::{HeaderMap, header};
use s3s::{
    S3, S3Error, S3Request, S3Response, S3Result, TrailingHeaders,
    dto::{
        CreateBucketInput, CreateBucketOutput, DeleteBucketCorsInput, DeleteBucketCorsOutput,
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag,
        GetBucketCorsInput, GetBucketCorsOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
        PostObjectInput, PostObjectOutput, PutBucketCorsInput, PutBucketCorsOutput, PutObjectInput,
        PutObjectOutput, StreamingBlob,
    },
    s3_error,
};

use super::{
    answer,
    disk::{Attributes, Declared, Disk, Overwrite, Record, Upload},
    request,
};

/// The most keys in one page of a listing or in one `DeleteObjects`.
const MAX_KEYS: usize = 1000;
/// How long a client may pause within a body.
const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The data folder behind S3's interface.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) disk: Arc<Disk>,
}

impl Front {
    /// Runs disk work where it may block.
    async fn on_disk<T, E>(&self, work: impl FnOnce(&Disk) -> Result<T, E> + Send + 'static) -> S3Result<T>
    where
        T: Send + 'static,
        E: Into<S3Error> + Send + 'static,
    {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk))
            .await
            .map_err(S3Error::internal_error)?
            .map_err(Into::into)
    }

    /// Begins an object.
    async fn begin(
        &self,
        bucket: String,
        key: String,
        attributes: Attributes,
        declared: Declared,
    ) -> S3Result<Upload> {
        request::check_key(&key)?;
        self.on_disk(move |disk| disk.begin(&bucket, &key, attributes, declared)).await
    }

    /// Writes a whole body and publishes it, a piece at a time, so that memory
    /// stays bounded by what the connection hands over at once.
    async fn receive(
        &self,
        mut upload: Upload,
        mut body: Option<StreamingBlob>,
        overwrite: Overwrite,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Record> {
        while let Some(body) = &mut body {
            let next = tokio::time::timeout(BODY_IDLE_TIMEOUT, body.next()).await;
            let Some(chunk) = next.map_err(|_| s3_error!(RequestTimeout))? else { break };
            // The signature layer's checks (content SHA-256, chunk signatures,
            // length) surface here, as errors of the stream.
            let chunk =
                chunk.map_err(|e| s3_error!(InvalidRequest, "the body could not be accepted: {e}"))?;
            upload = self.on_disk(move |_| upload.write(&chunk).map(|()| upload)).await?;
        }
        let trailers = trailers.and_then(|t| t.take());
        let trailer = move |name: &str| {
            let value = trailers.as_ref()?.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        self.on_disk(move |_| upload.publish(overwrite, trailer)).await
    }
}

#[async_trait]
impl S3 for Front {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let location = format!("/{}", req.input.bucket);
        let new = self.on_disk(move |disk| disk.create_bucket(&req.input.bucket)).await?;
        if !new {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.on_disk(move |disk| disk.check_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let declared = request::declared_put(&req.input, &req.headers)?;
        let input = req.input;
        let overwrite = request::overwrite(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let attributes = request::attributes(input.content_type, input.cache_control, input.metadata)?;
        let upload = self.begin(input.bucket, input.key, attributes, declared).await?;
        let record = self.receive(upload, input.body, overwrite, req.trailing_headers).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(record.etag)), ..Default::default() }))
    }

    /// A form: s3s has verified its policy, and holds its file in memory.
    async fn post_object(&self, req: S3Request<PostObjectInput>) -> S3Result<S3Response<PostObjectOutput>> {
        let declared = request::declared_post(&req.input)?;
        let input = req.input;
        let overwrite = request::overwrite(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let attributes = request::attributes(input.content_type, input.cache_control, input.metadata)?;
        let upload = self.begin(input.bucket, input.key, attributes, declared).await?;
        let record = self.receive(upload, input.body, overwrite, None).await?;
        let etag = ETag::Strong(record.etag);
        // s3s says it in a document at most.
        let headers = [(header::ETAG, etag.to_http_header().map_err(S3Error::internal_error)?)];
        let output = PostObjectOutput { e_tag: Some(etag), ..Default::default() };
        Ok(S3Response::with_headers(output, HeaderMap::from_iter(headers)))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let conditions = answer::Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
        let stored = self.on_disk(move |disk| disk.open_object(&input.bucket, &input.key)).await?;
        conditions.check(&stored.record)?;
        answer::get(stored, input.range).await.map(S3Response::new)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let conditions = answer::Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
        let stored = self.on_disk(move |disk| disk.open_object(&input.bucket, &input.key)).await?;
        conditions.check(&stored.record)?;
        Ok(S3Response::new(answer::head(stored.record)?))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.on_disk(move |disk| disk.remove(&input.bucket, &input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        if delete.objects.len() > MAX_KEYS {
            return Err(s3_error!(MalformedXML, "more than {MAX_KEYS} keys"));
        }
        let quiet = delete.quiet.unwrap_or_default();
        self.on_disk(move |disk| {
            disk.check_bucket(&bucket)?;
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in delete.objects {
                match disk.remove(&bucket, &object.key) {
                    Ok(()) => deleted.push(answer::deleted(object.key)),
                    Err(error) => errors.push(answer::not_deleted(object.key, &error.into())),
                }
            }
            Ok::<_, S3Error>(S3Response::new(DeleteObjectsOutput {
                deleted: (!quiet).then_some(deleted),
                errors: Some(errors),
                ..Default::default()
            }))
        })
        .await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "this server lists without delimiter"));
        }
        let limit = request::limit(input.max_keys, MAX_KEYS)?;
        // A continuation token is where the last page ended, and wins.
        let after = match &input.continuation_token {
            Some(token) => request::decode_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let bucket = input.bucket.clone();
        let prefix = input.prefix.clone().unwrap_or_default();
        let page = self.on_disk(move |disk| disk.list(&bucket, &prefix, &after, limit)).await?;
        let last = page.records.last();
        let next = last.filter(|_| page.more).map(|r| request::encode_token(&r.key));
        answer::list(input, limit, page.records, next).map(S3Response::new)
    }

    async fn put_bucket_cors(
        &self,
        req: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        self.put_cors(req.input.bucket, req.input.cors_configuration).await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    async fn get_bucket_cors(
        &self,
        req: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        self.get_cors(req.input.bucket).await.map(S3Response::new)
    }

    async fn delete_bucket_cors(
        &self,
        req: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        self.on_disk(move |disk| disk.put_cors(&req.input.bucket, &[])).await?;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }
}

// Uploads a file as any app would that uses tus-js-client, and says what it sent.
//
// node client.mjs ENDPOINT TOKEN FILE URLS RETRIES
//
// URLS is a file that remembers where unfinished uploads are; RETRIES is how often to try again at once.
// Prints a line of JSON for every request, and ends with 0 when the upload is complete.

import { createReadStream } from "node:fs";
import { FileUrlStorage, Upload } from "tus-js-client";

const [endpoint, token, file, urls, retries] = process.argv.slice(2);

const upload = new Upload(createReadStream(file), {
    endpoint,
    headers: { Authorization: `Bearer ${token}` },
    metadata: { filename: "noise.png", filetype: "image/png" },
    urlStorage: new FileUrlStorage(urls),
    retryDelays: Array(Number(retries)).fill(300),
    onAfterResponse: (request, response) =>
        console.log(
            JSON.stringify({
                method: request.getMethod(),
                offset: Number(request.getHeader("Upload-Offset") ?? 0),
                status: response.getStatus(),
            }),
        ),
    onError: (error) => {
        console.error(String(error));
        process.exitCode = 1;
    },
    onSuccess: () => console.log(JSON.stringify({ url: upload.url })),
});

const [previous] = await upload.findPreviousUploads();
if (previous) {
    upload.resumeFromPreviousUpload(previous);
}
upload.start();

// sharp as an image server: GET /{width}/{format}/{file} of one folder, everything at sharp's defaults.
//
// Two things differ from them. Turned photos are set upright, as the other servers do. The cache of
// operations is off, since it would answer a repetition without work.
import { createServer } from "node:http";
import { basename, join } from "node:path";
import sharp from "sharp";

const folder = process.argv[2];
sharp.cache(false);

const server = createServer(async (request, response) => {
    try {
        const [width, format, file] = request.url.slice(1).split("/");
        const picture = sharp(join(folder, basename(decodeURIComponent(file)))).autoOrient().resize(Number(width));
        const bytes = await picture.toFormat(format).toBuffer();
        response.writeHead(200, { "Content-Type": `image/${format}`, "Content-Length": bytes.length }).end(bytes);
    } catch (error) {
        response.writeHead(500).end(String(error));
    }
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => {
    const { sharp: version, vips } = sharp.versions;
    console.log(JSON.stringify({ port: server.address().port, version, vips, threads: sharp.concurrency() }));
});

// Appended to the CloudFront function: hands it events as CloudFront does, and prints its answers.
// https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-event-structure.html
// CASES and NOW stand before it. Node.js runs it, and njs, which CloudFront's own runtime is made of.

Date.now = function () {
  return 1000 * NOW;
};

function eventOf(asked) {
  const at = asked.url.indexOf('?');
  const query = at < 0 ? undefined : asked.url.slice(at + 1);
  const parsed = {};
  (query || '').split('&').forEach(function (pair) {
    parsed[pair.split('=')[0]] = { value: pair.split('=')[1] };
  });
  return {
    version: '1.0',
    context: { distributionDomainName: 'd111111abcdef8.cloudfront.net', eventType: 'viewer-request', requestId: 'EXAMPLE_ntjQp-1ug==' },
    viewer: { ip: '198.51.100.11' },
    request: {
      method: 'GET',
      uri: at < 0 ? asked.url : asked.url.slice(0, at),
      querystring: parsed,
      headers: Object.assign({ host: { value: 'img.example.org' } }, asked.headers),
      cookies: asked.cookies || {},
      rawQueryString: function () {
        return query;
      },
    },
  };
}

// A line for each: njs breaks long ones.
CASES.map(eventOf).map(handler).forEach(function (answer) {
  console.log(JSON.stringify(answer));
});

// Runs the project's vectors through pinhole.js, under njs and under Node.
import pinhole from './pinhole.js';

// Takes { links, accepts }, the two files; answers with what came out otherwise than they say.
function judge(text) {
    const files = JSON.parse(text);
    const links = files.links;
    const wrong = [];
    links.vectors.forEach(vector => {
        const at = vector.url.indexOf('?');
        const verified = at < 0
            ? { code: 'unsigned' }
            : pinhole.verify(links.keys, vector.url.slice(0, at), vector.url.slice(at + 1), links.now);
        const result = verified.code || 'valid';
        // The largest epoch is no number of JavaScript, so that it is compared as what it stands in the URL as.
        const is_right = result == vector.result && (result != 'valid'
            || (vector.url.indexOf('&ep=' + verified.ep + '&') > 0 && verified.left == vector.exp - links.now));
        if (!is_right) {
            wrong.push(vector.name + ': ' + JSON.stringify(verified));
        }
    });
    files.accepts.vectors.forEach(vector => {
        const accepted = pinhole.accepted([vector.accept]).split('image/').join('');
        if (accepted != vector.class) {
            wrong.push(vector.accept + ': ' + accepted);
        }
    });
    return JSON.stringify({ wrong: wrong, judged: links.vectors.length + files.accepts.vectors.length });
}

// Under njs.
function answer(r) {
    r.return(200, judge(r.requestText));
}

export default { answer, judge };

// Runs the project's vectors through pinhole.js, under njs and under Node.
import pinhole from './pinhole.js';

// Takes { links, accepts }, the two files; answers with what came out otherwise than they say.
function judge(text) {
    const files = JSON.parse(text);
    const links = files.links;
    const wrong = [];
    links.vectors.forEach(vector => {
        const at = vector.url.indexOf('?');
        const path = at < 0 ? vector.url : vector.url.slice(0, at);
        const query = at < 0 ? '' : vector.url.slice(at + 1);
        const verified = pinhole.verify(links.keys, path, query, links.now);
        const result = verified.code || 'valid';
        const is_right = result == vector.result
            && (result != 'valid' || (verified.ep == String(vector.ep) && verified.left == vector.exp - links.now));
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

// A node server as the first page of its documentation has it.
const http = require('http');
const version = '@VERSION@';

http.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  const answer = () => {
    res.setHeader('Content-Type', 'text/plain');
    res.end(`pid=${process.pid} version=${version}\n`);
  };
  if (ms) setTimeout(answer, ms);
  else answer();
}).listen(Number(process.argv[2]), '127.0.0.1');

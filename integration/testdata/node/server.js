// A node server as the first page of its documentation has it. Its second
// argument is how many ms a connection is kept that is idle; node's own is 5000.
const http = require('http');
const version = '@VERSION@';

const server = http.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  const answer = () => {
    res.setHeader('Content-Type', 'text/plain');
    res.end(`pid=${process.pid} version=${version}\n`);
  };
  if (ms) setTimeout(answer, ms);
  else answer();
});
if (process.argv[3]) server.keepAliveTimeout = Number(process.argv[3]);
server.listen(Number(process.argv[2]), '127.0.0.1');

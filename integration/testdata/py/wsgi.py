import os, time


def app(environ, start_response):
    query = environ.get('QUERY_STRING', '')
    if query.startswith('ms='):
        time.sleep(int(query[3:]) / 1000)
    body = b'pid=%d version=@VERSION@\n' % os.getpid()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]

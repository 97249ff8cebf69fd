"""nginx, from Debian."""

import subprocess

from harness.products.base import Place, program


class Nginx:
    name = "nginx"
    parses = True

    def command(self, place: Place) -> list[str]:
        servers = "".join(f"    server 127.0.0.1:{port};\n" for port in place.endpoints)
        path = place.folder / "nginx.conf"
        path.write_text(
            NGINX.format(
                folder=place.folder,
                port=place.port,
                servers=servers,
                listen=_listen(place),
                tls=_tls(place),
                bulk=BULK if place.front.is_bulk else "",
            )
        )
        return [program("nginx"), "-p", str(place.folder), "-e", "stderr", "-c", str(path)]

    def version(self) -> str:
        said = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True)
        return said.stderr.strip().removeprefix("nginx version: ")


def _listen(place: Place) -> str:
    ssl = "ssl " if place.front.tls else ""
    return ssl + ("http2 " if place.front.protocol == "http2" else "")


def _tls(place: Place) -> str:
    if not place.front.tls:
        return ""
    files, tickets = place.certificate, TICKETS if place.front.resumes else NO_TICKETS
    return TLS.format(certificate=files.certificate, key=files.key) + tickets


# Tickets alone resume sessions: a cache of one worker would do no more.
TLS = """\
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
"""
TICKETS = """\
    ssl_session_tickets on;
"""

# Without the second line OpenSSL sends tickets of another kind, which nothing could be done with.
NO_TICKETS = """\
    ssl_session_tickets off;
    ssl_conf_command NumTickets 0;
"""

# Nothing goes to a file on the way.
BULK = """\
      proxy_max_temp_file_size 0;
"""

# The master process only waits; it counts all the same. Buffering of responses is nginx's default.
NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
  worker_connections 16384;
}}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{
    least_conn;
{servers}\
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
  }}
  server {{
    listen 127.0.0.1:{port} {listen}backlog=4096;
{tls}\
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_connect_timeout 2s;
      proxy_read_timeout 30s;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded "for=$remote_addr;host=$http_host;proto=$scheme";
      proxy_set_header X-Request-Id $request_id;
{bulk}\
    }}
  }}
}}
"""

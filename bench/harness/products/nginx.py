"""nginx, from Debian."""

import subprocess

from harness.products.base import Place, program


class Nginx:
    name = "nginx"
    parses = True

    def command(self, place: Place) -> list[str]:
        servers = "".join(f"    server 127.0.0.1:{port};\n" for port in place.endpoints)
        path = place.folder / "nginx.conf"
        path.write_text(NGINX.format(folder=place.folder, port=place.port, servers=servers))
        return [program("nginx"), "-p", str(place.folder), "-e", "stderr", "-c", str(path)]

    def version(self) -> str:
        said = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True)
        return said.stderr.strip().removeprefix("nginx version: ")


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
    listen 127.0.0.1:{port} backlog=4096;
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
    }}
  }}
}}
"""

"""Web servers and what stands before and behind them."""

from __future__ import annotations

from .row import Row

_ASK = "curl -sS --noproxy '*'"

ROWS = (
    Row(
        "nginx", ("nginx-light", "openssl"), ("/usr/sbin/nginx", "-g", "daemon off;"),
        prepare="""
mkdir /etc/nginx/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \\
    -keyout /etc/nginx/tls/key.pem -out /etc/nginx/tls/certificate.pem 2>/dev/null
cat >/etc/nginx/sites-enabled/secure <<-'END'
    server { listen 127.0.0.1:443 ssl; root /var/www/html; ssl_certificate tls/certificate.pem;
             ssl_certificate_key tls/key.pem; }
END
echo 'hello from nginx' >/var/www/html/page.txt
cp /etc/nginx/tls/certificate.pem {T}/
""",
        client=f"""
{_ASK} http://127.0.0.1/page.txt
{_ASK} --cacert {{T}}/certificate.pem https://localhost/page.txt
{_ASK} -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1/none
""",
        expected="hello from nginx\nhello from nginx\n404\n",
        options=("--allow", "/etc/nginx/tls/key.pem"),
        held=("/etc/nginx/sites-enabled/default", "/etc/nginx/sites-enabled/secure"),
    ),
)

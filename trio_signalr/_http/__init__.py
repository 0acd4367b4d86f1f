"""HTTP for one hub: every request goes through here, and nothing else imports httpx.

One client serves negotiate, WebSocket upgrade, event stream and polls alike, so proxies, TLS, client certificates,
cookies and authentication are set once and are httpx's business. Its errors become ours here and nowhere else; what the
user's own client raises by itself (event hooks, an auth flow) and what their token function raises passes untouched.

Secrets stay inside: no URL in an error has its query, no object here shows a token in its ``repr``, and httpx's own log
of requests gets URLs without theirs.
"""

from .answers import Answer as Answer
from .clients import CONNECT_TIMEOUT as CONNECT_TIMEOUT, HttpClient as HttpClient, Proxy as Proxy
from .hub import HubHttp as HubHttp
from .negotiating import Negotiated as Negotiated, negotiate as negotiate
from .tokens import AccessToken as AccessToken
from .wire import MAX_READ_SIZE as MAX_READ_SIZE, Wire as Wire

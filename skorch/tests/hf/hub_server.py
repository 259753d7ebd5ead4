"""A model hub on this machine, for the real client of the package ``huggingface_hub``.

It speaks what the client needs to create a repository, to upload small files within a commit and
large ones by the LFS protocol, to list and to download.

"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

# What is larger goes by LFS.
SMALL = 1000


class Hub:
    """What the hub holds, and how it answers.

    Attributes
    ----------
    files : dict
        Content by repository, revision and path.
    commits : list of dict
        Of each commit repository, revision, summary and paths.
    token : str or None
        With a token, who does not send it finds no repository.
    refuse : bool
        Whether to refuse commits.

    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.commits: list[dict[str, Any]] = []
        self.large: dict[str, bytes] = {}
        self.token: str | None = None
        self.refuse = False

    def create(self, repo: str) -> None:
        self.files[repo] = {'main': {}}

    def commit(self, repo: str, revision: str, lines: list[dict[str, Any]]) -> str:
        """Take the files of a commit, each line of which is one part, and return its name."""
        header, paths = {}, []
        for line in lines:
            key, value = line['key'], line['value']
            if key == 'header':
                header = value
                continue
            is_large = key == 'lfsFile'
            content = self.large[value['oid']] if is_large else base64.b64decode(value['content'])
            self.files[repo].setdefault(revision, {})[value['path']] = content
            paths.append(value['path'])
        self.commits.append(
            {'repo': repo, 'revision': revision, 'summary': header.get('summary'), 'paths': paths}
        )
        return self.name_of_commit()

    def name_of_commit(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()


def _failed(status: int, code: str) -> Any:
    import flask

    return flask.Response('{}', status, {'X-Error-Code': code, 'X-Error-Message': code})


class Answers:
    """How the hub answers requests; each method is for one address."""

    def __init__(self, hub: Hub, request: Any) -> None:
        self.hub = hub
        self.request = request

    def create(self) -> Any:
        values = self.request.get_json()
        repo = f'{values.get("organization") or "user"}/{values["name"]}'
        self.hub.create(repo)
        return {'url': f'{self.request.host_url}{repo}', 'name': repo, 'id': repo}

    def preupload(self, repo: str, revision: str) -> Any:
        files = self.request.get_json()['files']
        return {'files': [self._mode(file) for file in files]}

    @staticmethod
    def _mode(file: dict[str, Any]) -> dict[str, Any]:
        mode = 'regular' if file['size'] < SMALL else 'lfs'
        return {'path': file['path'], 'uploadMode': mode, 'shouldIgnore': False, 'oid': None}

    def batch(self, repo: str) -> Any:
        objects = self.request.get_json()['objects']
        for each in objects:
            href = f'{self.request.host_url}lfs/{each["oid"]}'
            each['actions'] = {'upload': {'href': href, 'header': {}}}
        return {'transfer': 'basic', 'objects': objects}

    def put(self, oid: str) -> Any:
        content = self.request.get_data()
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.large[oid] = content
        return ''

    def commit(self, repo: str, revision: str) -> Any:
        if self.hub.refuse:
            return _failed(403, 'Forbidden')
        lines = [json.loads(line) for line in self.request.get_data().splitlines() if line]
        oid = self.hub.commit(repo, revision, lines)
        return {'commitUrl': f'{self.request.host_url}{repo}/commit/{oid}', 'commitOid': oid}

    def tree(self, repo: str, revision: str) -> Any:
        files = self.hub.files[repo].get(revision, {})
        return [
            {'type': 'file', 'path': path, 'size': len(files[path]), 'oid': '0'} for path in files
        ]

    def resolve(self, repo: str, revision: str, path: str) -> Any:
        import flask

        content = self.hub.files[repo].get(revision, {}).get(path)
        if content is None:
            return _failed(404, 'EntryNotFound')
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {'ETag': etag, 'X-Repo-Commit': self.hub.name_of_commit()}
        return flask.Response(content, 200, headers)

    def of_repo(self, name: str) -> Callable[..., Any]:
        """Return the method for requests about a repository that is there for this user."""

        def view(user: str, model: str, **kwargs: Any) -> Any:
            repo, token = f'{user}/{model}', self.hub.token
            allowed = not token or self.request.headers.get('Authorization') == f'Bearer {token}'
            if repo not in self.hub.files or not allowed:
                return _failed(401 if token else 404, 'RepoNotFound')
            return getattr(self, name)(repo, **kwargs)

        return view


ADDRESSES = [
    ('POST', '/api/models/<user>/<model>/preupload/<revision>', 'preupload'),
    ('POST', '/<user>/<model>.git/info/lfs/objects/batch', 'batch'),
    ('POST', '/api/models/<user>/<model>/commit/<revision>', 'commit'),
    ('GET', '/api/models/<user>/<model>/tree/<revision>', 'tree'),
    ('GET', '/<user>/<model>/resolve/<revision>/<path:path>', 'resolve'),
]


def make_app(hub: Hub) -> Any:
    """Return a flask application that serves the hub."""
    import flask

    app, answers = flask.Flask('hub'), Answers(hub, flask.request)
    app.add_url_rule('/api/repos/create', 'create', answers.create, methods=['POST'])
    app.add_url_rule('/lfs/<oid>', 'put', answers.put, methods=['PUT'])
    for method, address, name in ADDRESSES:
        app.add_url_rule(address, name, answers.of_repo(name), methods=[method])
    return app


class HubServer:
    """Serve a hub on a free port in the background, as long as the context lasts.

    Attributes
    ----------
    hub : Hub
    url : str
        The address, for ``HfApi(endpoint=...)`` or ``HF_ENDPOINT``.

    """

    def __enter__(self) -> HubServer:
        from werkzeug.serving import make_server

        logging.getLogger('werkzeug').setLevel(logging.ERROR)
        self.hub = Hub()
        self._server = make_server('127.0.0.1', 0, make_app(self.hub), threaded=True)
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""The pages of a study: plain forms that work without JavaScript, one page that shows where the participant is.

A participant is who has the cookie: a random secret, of which the server keeps a hash. Forms carry a token made of the
same secret. Everything that people or models wrote is escaped by the templates.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from prefdisco.conditions import problem_text
from prefdisco.files import RunError
from prefdisco.people.seat import LONGEST_ANSWER, NothingSaid
from prefdisco.people.session import LABELS, Participant, Stale
from prefdisco.people.stated import LONGEST_REMARK, MOST, Stated, Unstated
from prefdisco.people.study import Study
from prefdisco.world import Offer

HERE = Path(__file__).parent
COOKIE = "prefdisco_study"
LONGEST_FORM, MOST_FIELDS = 65_536, 300  # bytes and fields of a form
AGE = 30 * 24 * 3600  # seconds that a participant can come back in
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Form = dict[str, str]


class Refused(Exception):
    """A request that is not answered with a page of the study: status and a line for whoever reads it."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def app_of(study: Study) -> Starlette:
    """The application that serves `study`."""
    pages = Pages(study)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await study.settle()
        yield

    local = ["127.0.0.1", "localhost", "[::1]", "::1", study.config.host]
    hosts = ["*"] if study.config.public else local  # a name that somebody else points at us is refused
    return Starlette(
        routes=[
            Route("/", pages.show),
            Route("/status", pages.status),
            Route("/consent", pages.consent, methods=["POST"]),
            Route("/preferences", pages.preferences, methods=["POST"]),
            Route("/answer", pages.answer, methods=["POST"]),
            Route("/retry", pages.retry, methods=["POST"]),
            Route("/ratings", pages.ratings, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Headers)],
        exception_handlers={Refused: pages.refuse, RunError: pages.fail, 404: pages.nowhere},
        lifespan=lifespan,
    )


class Headers:
    """Puts HEADERS on every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class Pages:
    """The routes."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def show(self, request: Request) -> Response:
        """Where this participant is."""
        return self.page(request)

    async def status(self, request: Request) -> Response:
        """Where the participant is, for the script that waits for the page to change."""
        participant = self.participant(request)
        if participant is not None:
            participant.wake()
        return JSONResponse({"place": participant.place if participant else ""})

    async def consent(self, request: Request) -> Response:
        """Let somebody who agrees take part."""
        form = await self.form(request)
        if self.participant(request) is not None:
            return back()
        if form.get("agree") != "yes":
            return self.page(request, error="Please tick the box if you want to take part.")
        if self.study.is_full:
            return self.page(request)
        self.study.consented(session_of(request.cookies[COOKIE]))
        return back()

    async def preferences(self, request: Request) -> Response:
        """Take what the participant states beforehand."""
        form = await self.form(request)
        participant = self.known(request)
        stated = {
            name.removeprefix("value:"): Stated(value, number(form.get(f"importance:{name.removeprefix('value:')}")))
            for name, value in form.items()
            if name.startswith("value:") and value
        }
        try:
            participant.state(form.get("problem", ""), stated, form.get("remark", "")[:LONGEST_REMARK])
        except Unstated as error:
            return self.page(request, error=str(error), form=form)
        except Stale:
            pass
        return back()

    async def answer(self, request: Request) -> Response:
        """Take the answer to the agent's question."""
        form = await self.form(request)
        participant = self.known(request)
        none, stop = "none" in form, "stop" in form
        text = "No preference." if none else form.get("text", "")
        revealed = None if none else form.get("revealed")
        try:
            participant.answer(form.get("problem", ""), number(form.get("number")), text, revealed, stop)
        except NothingSaid:
            return self.page(request, error="Please write an answer, or use one of the other buttons.", form=form)
        except Stale:
            pass
        return back()

    async def retry(self, request: Request) -> Response:
        """Ask the agent again."""
        form = await self.form(request)
        with suppress(Stale):
            self.known(request).retry(form.get("problem", ""))
        return back()

    async def ratings(self, request: Request) -> Response:
        """Take the ratings of the three answers."""
        form = await self.form(request)
        participant = self.known(request)
        visit = participant.visit
        if visit is None or visit.scenario is None:
            return back()
        fields = [
            (condition, preference.attribute, form.get(f"{label}:{preference.attribute}"))
            for label, condition in zip(LABELS, visit.order, strict=True)
            for preference in visit.scenario.profile
        ]
        scores: dict[str, dict[str, int]] = {condition: {} for condition in visit.order}
        for condition, attribute, given in fields:
            if given:
                scores[condition][attribute] = number(given)
        try:
            await participant.rate(form.get("problem", ""), scores)
        except Stale:
            pass
        except ValueError as error:
            return self.page(request, error=str(error), form=form)
        return back()

    async def refuse(self, request: Request, error: Exception) -> Response:
        """A request that cannot be served."""
        status = error.status if isinstance(error, Refused) else 400
        return self.render("message.html", status, title="This did not work", line=str(error))

    async def fail(self, request: Request, error: Exception) -> Response:
        """Nothing could be written; what was shown before is kept."""
        line = "The study cannot store anything at the moment. Nothing is lost; please tell the researcher."
        return self.render("message.html", 503, title="Please wait", line=line)

    async def nowhere(self, request: Request, error: Exception) -> Response:
        """There is no such page."""
        return self.render("message.html", 404, title="No such page", line="The study has one page only.")

    def page(self, request: Request, error: str = "", form: Form | None = None) -> Response:
        """The page of the participant's phase; with `error`, what was wrong and what was filled in."""
        participant = self.participant(request)
        token = request.cookies.get(COOKIE, "")
        status = 422 if error else 200
        if participant is None:
            if not token and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                # Somebody came by a link from elsewhere: their cookie, if they have one, comes with the next request.
                return self.render("enter.html")
            token = token if is_secret(token) else secrets.token_urlsafe(32)
            name = "full.html" if self.study.is_full else "consent.html"
            response = self.render(
                name, status, csrf=csrf_of(token), error=error, paragraphs=paragraphs(self.study.consent)
            )
            secure = request.url.scheme == "https"
            response.set_cookie(COOKIE, token, max_age=AGE, httponly=True, samesite="strict", secure=secure)
            return response
        participant.wake()
        visit = participant.visit
        about = {"participant": participant, "csrf": csrf_of(token), "error": error, "form": form or {}}
        if visit is None:
            return self.render("done.html", status, **about)
        about |= {"visit": visit, "problem": problem_text(visit.problem), "total": len(participant.visits)}
        if visit.phase == "state":
            kinds: dict[str, list[Offer]] = {}
            for offer in visit.offers:
                kinds.setdefault(offer.attribute.kind, []).append(offer)
            return self.render("state.html", status, kinds=kinds, most=MOST, longest=LONGEST_REMARK, **about)
        assert visit.scenario is not None
        offers = {offer.attribute.name: offer for offer in visit.offers}
        about["wanted"] = [
            (offers[preference.attribute], preference, criterion)
            for preference, criterion in zip(visit.scenario.profile, visit.scenario.rubric, strict=True)
        ]
        if visit.phase == "rate" and visit.ready:
            answers = [(label, visit.parts[name].episode) for label, name in zip(LABELS, visit.order, strict=True)]
            return self.render("rate.html", status, answers=answers, **about)
        left = self.study.config.budget - len(visit.talk.given)
        guess = self.study.attribute_of(visit.talk.question or "")
        return self.render("talk.html", status, left=left, longest=LONGEST_ANSWER, guess=guess, **about)

    def render(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A template as a response."""
        return HTMLResponse(self.templates.get_template(name).render(**values), status)

    def participant(self, request: Request) -> Participant | None:
        """Who asks, None for somebody who has not consented."""
        return self.study.sessions.get(session_of(request.cookies.get(COOKIE, "")))

    def known(self, request: Request) -> Participant:
        """Who asks. Raises Refused for somebody who has not consented."""
        participant = self.participant(request)
        if participant is None:
            raise Refused(403, "Please open the study's first page again; this one belongs to nobody who takes part.")
        return participant

    async def form(self, request: Request) -> Form:
        """The fields of a form that this browser was given by us. Raises Refused."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                raise Refused(413, "That was too long. Go back and shorten it.")
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except ValueError:
            raise Refused(400, "That form cannot be read.") from None
        token = request.cookies.get(COOKIE, "")
        if not is_secret(token) or not hmac.compare_digest(form.get("csrf", "").encode(), csrf_of(token).encode()):
            raise Refused(403, "That form is out of date. Open the study's first page again; cookies must be allowed.")
        return form


def back() -> Response:
    """To the page, so that a reload sends nothing twice."""
    return RedirectResponse("/", 303)


def is_secret(token: str) -> bool:
    """Whether a cookie can be one of ours."""
    return 20 <= len(token) <= 100


def session_of(token: str) -> str:
    """What is stored of a cookie's secret."""
    return hashlib.sha256(b"session" + token.encode()).hexdigest()


def csrf_of(token: str) -> str:
    """What a form carries to show that it was made for this cookie."""
    return hashlib.sha256(b"form" + token.encode()).hexdigest()


def number(text: str | None) -> int:
    """A number of a form; -1, which is never valid, for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 4 else -1


def paragraphs(text: str) -> list[list[str]]:
    """Blocks of lines, as a consent text is shown: the first line of a block of several is its heading."""
    return [block.strip().splitlines() for block in text.split("\n\n") if block.strip()]

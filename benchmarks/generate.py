"""Requests a second and peak memory of `lqtse-cache generate`, beside bare loops and peers.

    python benchmarks/generate.py --curator-python PATH --distilabel-python PATH

Everything asks the same server, which runs in a process of its own and takes 20 ms for an answer.
Each runs in a process of its own; a peer whose Python is not given, or cannot import it, is left
out. The loops ask for the same schema and limits as a request of ours. Requests a second are
counted by each over its own working time, imports left out; `wall` is the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
SECONDS = 0.02  # for an answer
COUNT = re.compile(r"^Write (\d+) ", re.MULTILINE)
SOUNDS = re.compile(r"(?:another recording of|all of these are heard): (.+)")
HOW = ["softly", "loudly", "faintly", "steadily", "briefly", "suddenly", "slowly"]
NEAR = (
    *("far from", "close to", "right outside", "somewhere behind", "just below", "high above"),
    *("not far from", "on the way to", "a little beyond", "all around", "opposite"),
)
WHERE = (
    *("an old barn", "a busy harbour", "a quiet library", "the village school", "a wet alley"),
    *("the sports hall", "a narrow canyon", "an empty theatre", "the corner shop"),
    *("a frozen pond", "the city gate", "a small chapel", "the railway bridge"),
)
NUMBERS = itertools.count()
PROMPT = "Write 5 captions of sounds for an audio search engine, as JSON. " * 20


SCHEMA = {
    "type": "object",
    "properties": {
        "captions": {
            "type": "array",
            "description": "The captions, one string each",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 1,
        }
    },
    "required": ["captions"],
    "additionalProperties": False,
}
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "captions", "strict": True, "schema": SCHEMA},
}


def messages() -> list[dict[str, str]]:
    """About as many characters as a request of ours has."""
    return [{"role": "user", "content": PROMPT}]


def report(requests: int, seconds: float, captions: int = 0) -> None:
    """What a child tells the parent: its last line."""
    print(json.dumps({"requests": requests, "seconds": seconds, "captions": captions}))


class Lean(asyncio.Protocol):
    """One connection of a server that says what `ScriptedServer` says and takes little for it.

    A server that works as hard as its client would measure itself: on two cores, workers would only
    take turns with it.
    """

    def connection_made(self, transport: Any) -> None:
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(SECONDS, self._reply, self._answer(body))

    def _answer(self, body: bytes) -> bytes:
        asked = json.loads(body)
        text = asked["messages"][-1]["content"] if asked.get("messages") else ""
        sounds, count = SOUNDS.search(text), COUNT.search(text)
        names = sounds[1].rstrip(" .").split(", ") if sounds else ["a bell"]
        captions = [self._caption(names) for _ in range(int(count[1]) if count else 1)]
        said = {"role": "assistant", "content": json.dumps({"captions": captions})}
        read, written = len(text) // 4, 15 * len(captions)
        usage = {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }
        choice = {"index": 0, "finish_reason": "stop", "message": said}
        reply = {"id": "0", "created": 0, "model": "scripted", "object": "chat.completion"}
        reply |= {"choices": [choice], "usage": usage}
        return json.dumps(reply).encode()

    @staticmethod
    def _caption(names: list[str]) -> str:
        """One that names what was asked for, and differs from all others."""
        how, near, where = (next(NUMBERS) // size for size in (1, 7, 77))
        return f"{' and '.join(names)} {HOW[how % 7]} {NEAR[near % 11]} {WHERE[where % 13]}"

    def _reply(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)


def serve() -> None:
    """The server, until its input ends."""

    async def go() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Lean, "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)

    asyncio.run(go())


async def bounded(count: int, concurrency: int, one: Any) -> float:
    """Run `one` `count` times, `concurrency` at a time; the seconds it took."""
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - began


def bare_openai(url: str, count: int, concurrency: int, *, by_aiohttp: bool) -> None:
    import openai

    async def go() -> float:
        transport = openai.DefaultAioHttpClient() if by_aiohttp else None
        client = openai.AsyncOpenAI(
            base_url=url, api_key="none", max_retries=0, http_client=transport
        )

        async def one() -> None:
            reply = await client.chat.completions.create(
                model="scripted",
                messages=messages(),
                temperature=0.8,
                top_p=0.95,
                seed=1,
                max_tokens=72,
                response_format=FORM,
            )
            assert reply.choices[0].message.content

        await one()
        seconds = await bounded(count, concurrency, one)
        await client.close()
        return seconds

    report(count, asyncio.run(go()))


def bare_aiohttp(url: str, count: int, concurrency: int) -> None:
    import aiohttp

    async def go() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            body = {"model": "scripted", "messages": messages(), "temperature": 0.8, "seed": 1}
            body |= {"top_p": 0.95, "max_tokens": 72, "response_format": FORM}

            async def one() -> None:
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    assert (await response.json())["choices"][0]["message"]["content"]

            await one()
            return await bounded(count, concurrency, one)

    report(count, asyncio.run(go()))


def ours(url: str, count: int, concurrency: int, form: tuple[int, int], out: str) -> list[str]:
    """The command itself, asked for about as many captions as `count` requests give."""
    per_request, workers = form
    kept_of_asked = 0.7 if per_request > 1 else 0.8
    wanted = round(count * per_request * kept_of_asked)
    return [
        *("generate", out, "-n", str(wanted)),
        *("--backend", "openai", "--model", "scripted", "--base-url", url, "--json"),
        *("--concurrency", str(concurrency), "--per-request", str(per_request)),
        *(("--workers", str(workers)) if workers > 1 else ()),
    ]  # fmt: skip


def curator(url: str, count: int, concurrency: int) -> None:
    """bespokelabs-curator, with a stand-in for the tokenizer that it would download."""
    os.environ.update(OPENAI_API_KEY="none", TELEMETRY_ENABLED="false", CURATOR_VIEWER="0")
    os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"

    class Tokenizer:
        def encode(self, text: str, **_: Any) -> list[int]:
            return [0] * (len(text) // 4)

    import tiktoken

    tiktoken.encoding_for_model = lambda *_: Tokenizer()
    tiktoken.get_encoding = lambda *_: Tokenizer()
    from bespokelabs import curator as peer
    from datasets import Dataset

    class Captions(peer.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, Any]) -> str:
            return f"{row['number']} {PROMPT}"

        def parse(self, row: dict[str, Any], answer: Any) -> dict[str, Any]:
            return {"answer": str(answer)}

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CURATOR_CACHE_DIR"] = folder
        writer = Captions(
            model_name="gpt-4o-mini",
            backend="openai",
            backend_params={
                "base_url": url,
                "max_concurrent_requests": concurrency,
                "max_requests_per_minute": 10_000_000,
                "max_tokens_per_minute": 10_000_000_000,
            },
        )
        rows = Dataset.from_dict({"number": list(range(count))})
        began = time.perf_counter()
        answers = writer(rows, working_dir=folder)
        seconds = time.perf_counter() - began
        assert len(getattr(answers, "dataset", answers)) == count
    report(count, seconds)


def distilabel(url: str, count: int, concurrency: int) -> None:
    from distilabel.models import OpenAILLM

    llm = OpenAILLM(model="scripted", base_url=url, api_key="none", max_retries=0)
    llm.load()
    began = time.perf_counter()
    for begin in range(0, count, concurrency):  # its batches, each waited for as a whole
        size = min(concurrency, count - begin)
        answers = llm.generate(inputs=[messages() for _ in range(size)])
        assert len(answers) == size
    report(count, time.perf_counter() - began)


OURS = {  # captions a request, workers
    "lqtse, 1 caption a request": (1, 1),
    "lqtse, 1 caption a request, --workers 2": (1, 2),
    "lqtse, 5 captions a request": (5, 1),
    "lqtse, 5 captions a request, --workers 2": (5, 2),
}
OTHERS: dict[str, Any] = {
    "bare loop, openai's aiohttp client": lambda *a: bare_openai(*a, by_aiohttp=True),
    "bare loop, openai's default client": lambda *a: bare_openai(*a, by_aiohttp=False),
    "bare loop, aiohttp": bare_aiohttp,
    "bespokelabs-curator": curator,
    "distilabel": distilabel,
}
BASE, PEER = "bare loop, openai's aiohttp client", "bespokelabs-curator"
ALONE = "lqtse, 1 caption a request"
PAIR = "limit of --workers 2: two runs that know nothing of each other"


def run(python: str, case: str, url: str, count: int, concurrency: int) -> dict[str, Any] | str:
    """One case in a process of its own: its report, wall time and peak memory, or what it said."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        tempfile.TemporaryDirectory() as folder,
    ):
        if case in OURS:
            words = [python, "-c", "from pipeline.cli import main; main()"]
            words += ours(url, count, concurrency, OURS[case], str(Path(folder) / "cache"))
        else:
            words = [python, str(HERE), "--child", case, "--url", url]
            words += ["--requests", str(count), "--concurrency", str(concurrency)]
        began = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        said = out.read()
        lines = [line for line in said.splitlines() if line.startswith('{"requests"')]
        if process.returncode or not (lines or case in OURS):
            return (err.read().strip().splitlines() or ["it said nothing"])[-1]
    told = json.loads(said if case in OURS else lines[-1])
    if case in OURS:
        seconds = told["captions_kept"] / told["captions_a_second"]
        told = {"requests": told["requests_answered"], "captions": told["captions_kept"]}
        told["seconds"] = seconds
    cpu = usage.ru_utime + usage.ru_stime
    return {**told, "wall": wall, "cpu": cpu, "mb": usage.ru_maxrss / 1024}


def run_pair(python: str, url: str, count: int, concurrency: int) -> dict[str, Any] | str:
    """What two processes that share nothing but the machine and the server reach together."""
    halves = [(python, ALONE, url, count // 2, concurrency // 2)] * 2
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda half: run(*half), halves))
    done = [result for result in results if not isinstance(result, str)]
    if len(done) < len(results):
        return next(result for result in results if isinstance(result, str))
    total = {name: sum(one[name] for one in done) for name in ("requests", "captions", "cpu")}
    # Rates are added: one may end a little before the other.
    rate = sum(one["requests"] / one["seconds"] for one in done)
    longest = {name: max(one[name] for one in done) for name in ("wall", "mb")}
    return {**total, **longest, "seconds": total["requests"] / rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many is shown")
    parser.add_argument("--curator-python", default="")
    parser.add_argument("--distilabel-python", default="")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child == "server":
        serve()
    elif asked.child:
        OTHERS[asked.child](asked.url, asked.requests, asked.concurrency)
    else:
        compare(asked)


def compare(asked: argparse.Namespace) -> None:
    pythons = {"bespokelabs-curator": asked.curator_python, "distilabel": asked.distilabel_python}
    found: dict[str, dict[str, Any]] = {}
    for case in [case for case in (*OURS, *OTHERS, PAIR) if asked.only in case]:
        python = shutil.which(pythons.get(case, sys.executable))
        if python is None:
            print(f"{case}: left out, no Python of its own was given")
            continue
        for _ in range(asked.rounds):
            server = subprocess.Popen(
                [sys.executable, str(HERE), "--child", "server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
            )
            assert server.stdin is not None
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            size = (asked.requests, asked.concurrency)
            pair = case == PAIR
            result = run_pair(python, url, *size) if pair else run(python, case, url, *size)
            server.stdin.close()
            server.wait()
            if isinstance(result, str):
                print(f"{case}: left out, {result}")
                break
            result["rate"] = result["requests"] / result["seconds"]
            if case not in found or result["rate"] > found[case]["rate"]:
                found[case] = result
    table(found)


def table(found: dict[str, dict[str, Any]]) -> None:
    head = ("", "requests", "requests/s", "to the bare loop", "to curator", "captions/s")
    print("|", " | ".join((*head, "wall s", "CPU s", "MB")), "|")
    print("|---|---|---|---|---|---|---|---|---|")
    for case, one in found.items():
        ratios = [
            f"{one['rate'] / found[other]['rate']:.2f}" if other in found else ""
            for other in (BASE, PEER)
        ]
        captions = f"{one['captions'] / one['seconds']:.0f}" if one["captions"] else ""
        cells = (case, one["requests"], f"{one['rate']:.0f}", *ratios, captions)
        whole = (f"{one['wall']:.1f}", f"{one['cpu']:.1f}", f"{one['mb']:.0f}")
        print("|", " | ".join(map(str, (*cells, *whole))), "|")


if __name__ == "__main__":
    main()

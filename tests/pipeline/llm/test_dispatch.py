from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from cache_store.errors import AuthenticationError, RemoteError
from pipeline.ledger import Ledger, open_ledger
from pipeline.llm.base import Answer
from pipeline.llm.commits import Commits
from pipeline.llm.dispatch import Dispatcher
from pipeline.llm.limits import Limiter
from pipeline.llm.prices import Budget, Price
from pipeline.llm.retry import Retrier, RetryPolicy
from pipeline.llm.scripted import Call, Script, ScriptedBackend
from pipeline.llm.source import Answered, Result, Unanswered
from prompts.request import Request
from tests.pipeline.llm.requests import small_plan

PLAN = small_plan()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        yield one


class Shuffled(ScriptedBackend):
    """Answers in a random order; remembers how many it had at once."""

    def __init__(self, script: Script = ("good",), *, seed: int = 0, offline: bool = True) -> None:
        super().__init__(script, patience=0.01)
        self.rng = random.Random(seed)
        self.offline = offline
        self.at_once = self.most_at_once = 0

    async def answer(self, request: Request) -> Answer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.rng.uniform(0.0, 0.01))
            return await super().answer(request)
        finally:
            self.at_once -= 1


def many() -> int:
    return 1_000


def take(
    dispatcher: Dispatcher, count: int | None, first: int = 0, ahead: Callable[[], int] = many
) -> list[Answered]:
    """The next answers; all that come for a count of None."""

    async def some() -> list[Answered]:
        got: list[Answered] = []
        async with aclosing(dispatcher.stream(first, ahead)) as answers:
            async for answered in answers:
                assert isinstance(answered, Answered)
                got.append(answered)
                if len(got) == count:
                    break
        return got

    return asyncio.run(some())


def impatient() -> Retrier:
    return Retrier(RetryPolicy(attempts=3, base=0.0))


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_answers_come_in_plan_order_whatever_their_arrival(
    ledger: Ledger, concurrency: int
) -> None:
    backend = Shuffled(seed=concurrency)
    got = take(Dispatcher(PLAN.request, backend, ledger, concurrency=concurrency), 40)
    assert [one.request.index for one in got] == list(range(40))
    assert backend.most_at_once <= concurrency
    assert concurrency == 1 or backend.most_at_once > 1


def test_every_answer_is_in_the_ledger_when_it_is_handed_on(ledger: Ledger) -> None:
    async def check() -> None:
        dispatcher = Dispatcher(PLAN.request, Shuffled(), ledger)
        async with aclosing(dispatcher.stream(0, many)) as answers:
            async for answered in answers:
                assert isinstance(answered, Answered)
                assert ledger.get([answered.request.id]) == {answered.request.id: answered.answer}
                if answered.request.index == 20:
                    break

    asyncio.run(check())


def test_what_the_ledger_has_is_not_asked_again(ledger: Ledger) -> None:
    take(Dispatcher(PLAN.request, Shuffled(), ledger), 10, ahead=lambda: 1)
    backend = Shuffled()
    dispatcher = Dispatcher(PLAN.request, backend, ledger)
    got = take(dispatcher, 15)
    assert [one.replayed for one in got] == [True] * 10 + [False] * 5
    assert not {PLAN.request(index).id for index in range(10)} & set(backend.actor.calls)
    assert dispatcher.traffic.replayed == 10


def test_little_is_sent_ahead_of_what_is_needed(ledger: Ledger) -> None:
    backend = Shuffled()
    take(Dispatcher(PLAN.request, backend, ledger, concurrency=16), 5, ahead=lambda: 2)
    assert backend.actor.calls.total() <= 6


def test_an_answer_that_is_late_holds_a_bounded_number_back(ledger: Ledger) -> None:
    def first_hangs(call: Call) -> str:
        return "hang" if call.request.index == 0 and call.attempt == 0 else "good"

    backend = Shuffled(first_hangs)
    backend._patience = 0.2
    dispatcher = Dispatcher(PLAN.request, backend, ledger, concurrency=4, retrier=impatient())
    got = take(dispatcher, 1)
    assert got[0].request.index == 0
    assert len(backend.actor.calls) <= 16
    assert dispatcher.traffic.retries == 1


def test_a_final_error_comes_after_the_answers_before_it(ledger: Ledger) -> None:
    def sixth_is_refused(call: Call) -> str:
        return "unauthorized" if call.request.index == 5 else "good"

    got: list[int] = []

    async def all_of_them() -> None:
        dispatcher = Dispatcher(
            PLAN.request, Shuffled(sixth_is_refused, offline=False), ledger, concurrency=3
        )
        async with aclosing(dispatcher.stream(0, many)) as answers:
            async for answered in answers:
                got.append(answered.request.index)

    with pytest.raises(AuthenticationError):
        asyncio.run(all_of_them())
    assert got == [0, 1, 2, 3, 4]
    assert ledger.totals().lost == 0


def test_a_stop_lets_paid_requests_arrive(ledger: Ledger) -> None:
    backend = Shuffled(offline=False)

    async def stopped() -> list[int]:
        dispatcher = Dispatcher(PLAN.request, backend, ledger, concurrency=8)
        got = []
        async with aclosing(dispatcher.stream(0, many)) as answers:
            async for answered in answers:
                got.append(answered.request.index)
                if len(got) == 5:
                    dispatcher.stop()
        assert dispatcher.end == "stopped"
        return got

    got = asyncio.run(stopped())
    assert got == list(range(len(got)))
    # Everything that was sent was kept.
    assert ledger.totals().answers == backend.actor.calls.total() >= len(got)


def test_leaving_early_lets_paid_requests_arrive_too(ledger: Ledger) -> None:
    backend = Shuffled(offline=False)
    take(Dispatcher(PLAN.request, backend, ledger, concurrency=8), 3)
    assert ledger.totals().answers == backend.actor.calls.total()


def test_free_requests_are_dropped_at_the_end_and_nothing_counts_as_lost(ledger: Ledger) -> None:
    backend = Shuffled()
    take(Dispatcher(PLAN.request, backend, ledger, concurrency=8), 1)
    totals = ledger.totals()
    assert totals.answers <= totals.attempts
    # An attempt that was left open would be counted as lost by the next to open the ledger.
    open_attempts = ledger._connection.execute(
        "SELECT count(*) FROM attempts WHERE outcome = 'open'"
    ).fetchone()[0]
    assert open_attempts == 0


def test_a_spent_budget_ends_it_and_is_never_passed(ledger: Ledger) -> None:
    price = Price(input=1_000.0, output=1_000.0)
    one = Budget(price).worst_case(PLAN.request(0)).usd
    budget = Budget(price, max_usd=one * 4)
    dispatcher = Dispatcher(PLAN.request, Shuffled(), ledger, budget=budget, concurrency=16)
    got = take(dispatcher, None)
    assert dispatcher.end == "budget"
    assert [answered.request.index for answered in got] == list(range(len(got)))
    # Answers cost less than their worst case, so more than four fit, and the rest is too little.
    assert len(got) > 4
    assert one * 3 < budget.spent.usd <= one * 4
    assert ledger.totals().usd == pytest.approx(budget.spent.usd)


def test_spent_tokens_end_it_without_a_price_and_are_never_passed(ledger: Ledger) -> None:
    one = Budget().worst_case(PLAN.request(0)).tokens
    budget = Budget(max_tokens=one * 4)
    dispatcher = Dispatcher(PLAN.request, Shuffled(), ledger, budget=budget, concurrency=16)
    got = take(dispatcher, None)
    assert (dispatcher.end, budget.bound) == ("budget", "--max-tokens")
    said = [answered.answer for answered in got]
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in said)
    assert len(got) > 4
    assert one * 3 < tokens <= one * 4
    assert ledger.totals().spent.tokens == budget.spent.tokens == tokens


def test_attempts_that_may_have_been_paid_count_against_the_budget(ledger: Ledger) -> None:
    def each_hangs_once(call: Call) -> str:
        return "hang" if call.attempt == 0 else "good"

    price = Price(input=1_000.0, output=1_000.0)
    budget = Budget(price)
    dispatcher = Dispatcher(
        PLAN.request, Shuffled(each_hangs_once), ledger, budget=budget, retrier=impatient()
    )
    take(dispatcher, 1, ahead=lambda: 1)
    worst, total = budget.worst_case(PLAN.request(0)), ledger.totals()
    assert total.lost_tokens == worst.tokens
    answered = total.spent - worst
    assert budget.spent.usd == pytest.approx(worst.usd + answered.usd)
    assert budget.spent.tokens == worst.tokens + answered.tokens
    assert answered.usd > 0 and answered.tokens > 0


@pytest.mark.parametrize("concurrency", [1, 4])
def test_retries_of_what_may_have_been_paid_do_not_pass_a_limit(
    ledger: Ledger, concurrency: int
) -> None:
    worst = max(Budget().worst_case(PLAN.request(index)).tokens for index in range(20))
    budget = Budget(max_tokens=4 * worst)
    dispatcher = Dispatcher(
        PLAN.request,
        Shuffled(["hang"]),
        ledger,
        budget=budget,
        retrier=Retrier(RetryPolicy(attempts=6, base=0.0)),
        concurrency=concurrency,
    )
    assert take(dispatcher, None) == []
    assert dispatcher.end == "budget"
    assert 0 < ledger.totals().spent.tokens <= 4 * worst


def test_requests_are_marked_ahead_of_the_room_to_send_them(ledger: Ledger) -> None:
    backend = Shuffled()
    dispatcher = Dispatcher(PLAN.request, backend, ledger, concurrency=8)
    most = 0

    def look(asked: int) -> int:
        nonlocal most
        most = max(most, len(dispatcher._pending))
        return asked

    take(dispatcher, 60, ahead=lambda: look(1_000))
    assert 8 < most <= 12
    assert backend.most_at_once <= 8


class SlowDisk(Commits):
    """Answers take longer to the disk than to come; remembers how many were on their way."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.on_their_way = self.most_on_their_way = 0

    def store(
        self, attempt: int, request_id: str, answer: Answer, usd: float | None
    ) -> asyncio.Future[None]:
        async def late() -> None:
            self.on_their_way += 1
            self.most_on_their_way = max(self.most_on_their_way, self.on_their_way)
            await asyncio.sleep(0.05)
            await super(SlowDisk, self).store(attempt, request_id, answer, usd)
            self.on_their_way -= 1

        return asyncio.ensure_future(late())


def test_an_answer_on_its_way_to_the_disk_makes_room_for_a_request_but_not_for_ever_more(
    ledger: Ledger,
) -> None:
    backend, disk = Shuffled(), SlowDisk(ledger)
    dispatcher = Dispatcher(PLAN.request, backend, ledger, concurrency=8, commits=disk)
    most_open = 0

    def look() -> int:
        nonlocal most_open
        most_open = max(most_open, _still_open(ledger))
        return 1_000

    assert len(take(dispatcher, 60, ahead=look)) == 60
    assert backend.most_at_once <= 8
    assert 8 < disk.most_on_their_way <= 12
    assert 8 < most_open <= 12


def test_under_a_limit_a_minute_nothing_is_marked_ahead(ledger: Ledger) -> None:
    limited = Retrier(limiter=Limiter(rpm=6_000_000))
    dispatcher = Dispatcher(PLAN.request, Shuffled(), ledger, retrier=limited, concurrency=8)
    most = 0

    def look(asked: int) -> int:
        nonlocal most
        most = max(most, len(dispatcher._pending))
        return asked

    take(dispatcher, 30, ahead=lambda: look(1_000))
    assert most <= 8


def results(dispatcher: Dispatcher, count: int | None, first: int = 0) -> list[Result]:
    """Like `take`, with those that got no answer."""

    async def some() -> list[Result]:
        got: list[Result] = []
        async with aclosing(dispatcher.stream(first, many)) as stream:
            async for result in stream:
                got.append(result)
                if len(got) == count:
                    break
        return got

    return asyncio.run(some())


def every_fifth_fails(call: Call) -> str:
    return "server_error" if call.request.index % 5 == 2 else "good"


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_a_request_that_fails_for_good_is_recorded_and_the_plan_goes_on(
    ledger: Ledger, concurrency: int
) -> None:
    backend = Shuffled(every_fifth_fails, seed=concurrency)
    dispatcher = Dispatcher(
        PLAN.request, backend, ledger, retrier=impatient(), concurrency=concurrency
    )
    got = results(dispatcher, 20)
    assert [one.request.index for one in got] == list(range(20))
    failed = [one for one in got if isinstance(one, Unanswered)]
    assert [one.request.index for one in failed] == [2, 7, 12, 17]
    assert {one.reason for one in failed} == {"server_error"}
    assert ledger.given_up([one.request.id for one in got]) == {
        one.request.id: "server_error" for one in failed
    }
    assert all(backend.actor.calls[one.request.id] == 3 for one in failed), "its attempts"


def test_what_was_given_up_is_not_asked_again(ledger: Ledger) -> None:
    dispatcher = Dispatcher(PLAN.request, Shuffled(every_fifth_fails), ledger, retrier=impatient())
    before = results(dispatcher, 10)
    backend = Shuffled()
    again = results(Dispatcher(PLAN.request, backend, ledger), 10)
    assert [type(one) for one in again] == [type(one) for one in before]
    assert all(one.replayed for one in again)
    assert not {one.request.id for one in before} & set(backend.actor.calls)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_server_that_dies_ends_it_and_its_failures_are_asked_again_later(
    ledger: Ledger, concurrency: int
) -> None:
    def dies(call: Call) -> str:
        return "good" if call.request.index < 5 else "server_error"

    backend = Shuffled(dies)
    dispatcher = Dispatcher(
        PLAN.request, backend, ledger, retrier=impatient(), concurrency=concurrency
    )
    got: list[Result] = []

    async def all_of_them() -> None:
        async with aclosing(dispatcher.stream(0, many)) as stream:
            async for result in stream:
                got.append(result)

    with pytest.raises(RemoteError, match="requests in a row got no answer: the server failed"):
        asyncio.run(all_of_them())
    assert [one.request.index for one in got] == list(range(5)), "none is handed on as failed"
    streak = max(10, 2 * concurrency)
    assert len(backend.actor.calls) <= 5 + streak + concurrency, "the plan was not burnt"
    later = [PLAN.request(index).id for index in range(100)]
    assert ledger.given_up(later) == {}
    assert len(results(Dispatcher(PLAN.request, Shuffled(), ledger), 50)) == 50


def test_one_moment_in_which_all_in_flight_fail_does_not_end_it(ledger: Ledger) -> None:
    def hiccup(call: Call) -> str:
        return "server_error" if 8 <= call.request.index < 16 else "good"

    dispatcher = Dispatcher(
        PLAN.request, Shuffled(hiccup), ledger, retrier=impatient(), concurrency=8
    )
    got = results(dispatcher, 30)
    assert [one.request.index for one in got if isinstance(one, Unanswered)] == list(range(8, 16))


def test_a_failure_that_comes_last_is_believed_though_nothing_more_was_needed(
    ledger: Ledger,
) -> None:
    backend = Shuffled(lambda call: "server_error" if call.request.index == 0 else "good")

    def ahead() -> int:  # at first much seems to be needed, then little
        return 8 if backend.actor.calls.total() < 8 else 1

    slow = Retrier(RetryPolicy(attempts=3, base=0.2))
    dispatcher = Dispatcher(PLAN.request, backend, ledger, retrier=slow, concurrency=4)

    async def first() -> Result:
        async with aclosing(dispatcher.stream(0, ahead)) as stream:
            return await stream.__anext__()

    result = asyncio.run(first())
    assert isinstance(result, Unanswered)
    assert result.request.index == 0


def test_a_plan_with_an_end_ends_there(ledger: Ledger) -> None:
    def last_fails(call: Call) -> str:
        return "server_error" if call.request.index == 6 else "good"

    dispatcher = Dispatcher(
        PLAN.request, Shuffled(last_fails), ledger, retrier=impatient(), length=7
    )
    got = results(dispatcher, None)
    assert [one.request.index for one in got] == list(range(7))
    assert isinstance(got[-1], Unanswered)


def test_a_plan_of_which_nothing_was_answered_ends_with_the_reason(ledger: Ledger) -> None:
    dispatcher = Dispatcher(
        PLAN.request, Shuffled(["server_error"]), ledger, retrier=impatient(), length=3
    )
    with pytest.raises(RemoteError, match="3 requests in a row got no answer"):
        results(dispatcher, None)
    assert ledger.given_up([PLAN.request(index).id for index in range(3)]) == {}


def test_a_stop_sends_no_further_attempt_and_does_not_wait_for_back_off(ledger: Ledger) -> None:
    def later_ones_fail(call: Call) -> str:
        return "good" if call.request.index < 4 else "rate_limit"

    backend = Shuffled(later_ones_fail, offline=False)
    patient = Retrier(RetryPolicy(attempts=6, base=60.0, ceiling=60.0))

    async def stopped() -> int:
        dispatcher = Dispatcher(PLAN.request, backend, ledger, retrier=patient, concurrency=8)
        async with aclosing(dispatcher.stream(0, many)) as stream:
            async for result in stream:
                if result.request.index == 3:
                    await asyncio.sleep(0.05)  # all others fail, and wait for a minute
                    dispatcher.stop()
                    before = backend.actor.calls.total()
        return before

    assert asyncio.run(stopped()) == backend.actor.calls.total()
    assert ledger.totals().lost == 0
    assert _still_open(ledger) == 0, "nothing is left as in flight"


def _still_open(ledger: Ledger) -> int:
    query = "SELECT count(*) FROM attempts WHERE outcome = 'open'"
    return int(ledger._connection.execute(query).fetchone()[0])

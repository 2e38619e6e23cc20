"""Independent accounts: what the answers say was traded, compared with the orders and the quantities of the service."""

import http.client
import json
import time

PAGE_ORDERS = 1_000
# A read may meet an election.
TRIES = 40
ANSWER_TIMEOUT_S = 15


def asked(address, path, tries=TRIES):
    """The answer to a GET, as JSON; asks again while there is no leader or no lease."""
    for turn in range(tries):
        connection = http.client.HTTPConnection(*address, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status in (200, 404):
                return answer.status, json.loads(body)
        except (OSError, http.client.HTTPException) as error:
            body = repr(error)
        finally:
            connection.close()
        if turn + 1 < tries:
            time.sleep(0.25)
    raise RuntimeError(f"GET {path} got no answer from {address}: {body}")


class Ledger:
    """What must have happened, and what may have; everything else must not."""

    def __init__(self, public):
        self.public = public
        # Orders that somebody was told of: their key and what they are, if that is known.
        self.told = {}
        # Requests that nobody has an answer to.
        self.open = {}
        # Stocks that were changed by nobody knows how much.
        self.unsure = set()
        self.orders = self.restocks = 0
        self.last = 0
        for _ in self.new_orders():
            pass
        self.stocks = self.shown()

    def shown(self):
        """The quantities that the service shows."""
        return {stock["name"]: stock["quantity"] for stock in asked(self.public, "/stocks")[1]["data"]}

    def new_orders(self):
        """The orders since the last time."""
        while True:
            page = asked(self.public, f"/orders?after={self.last}&limit={PAGE_ORDERS}")[1]["data"]
            yield from page
            if not page:
                return
            self.last = page[-1]["number"]

    def note(self, case, exchange):
        """Takes down what became of a case."""
        requests = {one.request_id: one for one in case.in_whole()}
        for answer in exchange.answers:
            request = requests.pop(answer.request_id, None)
            is_known = request is not None and not (case.is_changed and request is case.request)
            self.note_answer(answer, request if is_known else None)
            if request is not None and answer.status == 504:
                self.open[request.key] = request
        for request in requests.values():
            # Whoever reads to the end is told of everything that happened.
            was_read = case.ending in ("half", "open") and exchange.end == "closed"
            is_refused = request is case.request and case.done == "never"
            if request.key and not was_read and not is_refused:
                self.open[request.key] = request

    def note_answer(self, answer, request):
        """Takes down what an answer tells."""
        data = data_in(answer)
        number = number_in(answer)
        if number is not None:
            self.told[number] = (request.key, request.change) if request else ("", None)
        elif "stock_version" in data and set(data) == {"name", "stock_version"}:
            self.restocks += 1
            if request:
                self.add(request.change[1], request.change[2])
            else:
                self.unsure.add(data["name"])

    def add(self, stock, quantity):
        """A stock has so many more."""
        self.stocks[stock] = self.stocks.get(stock, 0) + quantity

    def settle(self):
        """Compares; returns what is wrong, as pairs of a key and a text."""
        wrong = self.settle_orders()
        wrong += [(key, f"order {number} was told of and is not there") for number, (key, _) in self.told.items()]
        self.told = {}
        differing = self.differing()
        if differing:
            # What nobody waited for may still have been under way.
            time.sleep(1)
            wrong += self.settle_orders()
            differing = self.differing()
        self.stocks, self.unsure = self.shown(), set()
        return wrong + differing

    def settle_orders(self):
        """What is wrong with the orders since the last time."""
        wrong = []
        for order in self.new_orders():
            wrong += self.explained(order)
            self.add(order["name"], order["quantity"] * (1 if order["type"] == "sell" else -1))
            self.orders += 1
        return wrong

    def explained(self, order):
        """What is wrong with an order."""
        key, change = self.told.pop(order["number"], (None, None))
        if key is None:
            return [] if order["key"] in self.open else [(order["key"], f"nobody was told of {order}")]
        fields = ("trade", order["name"], order["type"], order["quantity"])
        if change is None or (order["key"] == key and fields == change):
            return []
        return [(key, f"{change} became {order}")]

    def differing(self):
        """Stocks of which there are not as many as the answers make."""
        for key in [key for key, request in self.open.items() if request.change[0] == "restock"]:
            if asked(self.public, f"/orders/by-key/{key}")[0] == 200:
                request = self.open.pop(key)
                self.add(request.change[1], request.change[2])
        shown = self.shown()
        differing = {name: shown.get(name) for name in self.stocks if shown.get(name) != self.stocks[name]}
        return [
            ("", f"{name} has {quantity}, and {self.stocks[name]} by the answers")
            for name, quantity in differing.items()
            if name not in self.unsure
        ]


def number_in(answer):
    """The order's number in an answer to a trade; none if there is none."""
    data = data_in(answer)
    return data.get("transaction_number", data.get("order_no"))


def data_in(answer):
    """What an answer to a change says, in any of its forms."""
    if answer.status != 200 or not answer.body.startswith(b"{"):
        return {}
    body = json.loads(answer.body)
    data = body.get("data", body)
    data = data[0] if isinstance(data, list) and data else data
    return data if isinstance(data, dict) else {}

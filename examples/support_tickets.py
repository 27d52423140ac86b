"""Search in support tickets: tenants that never see each other, filters, and newer tickets first among equals.

    python examples/support_tickets.py "the export never finishes"

A service keeps one collection for all tenants and gives each request the pipeline of its tenant. No argument of a
request can widen that scope.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path

from hybridrank import Document, Pipeline, SearchResult
from hybridrank.adjust import Recency

TICKETS = [
    # tenant, id, opened, status, product, subject, text
    ("acme", 101, "2023-02-11", "closed", "reports", "Export to CSV never finishes",
     "Exporting the yearly report hangs at 80 %. Fixed by raising the worker's memory to 4 GB."),
    ("acme", 102, "2025-09-30", "open", "reports", "CSV export stuck again",
     "Since the last release the export of large reports stops without an error message."),
    ("acme", 103, "2025-10-02", "open", "login", "Single sign-on loop",
     "After the password change the browser keeps redirecting between the login page and our identity provider."),
    ("acme", 104, "2024-06-20", "closed", "billing", "Invoice shows the wrong currency",
     "Invoices are printed in dollars although the account is set to euros."),
    ("globex", 201, "2025-10-05", "open", "reports", "Scheduled export fails at night",
     "The nightly export job fails with a time-out; the same export finishes when it is started by hand."),
    ("globex", 202, "2025-08-17", "closed", "login", "Two-factor codes are rejected",
     "Codes of the authenticator are refused because the server's clock is two minutes behind."),
]  # fmt: skip


def documents() -> list[Document]:
    """A ticket's subject is its title; what it is filtered by is metadata."""
    return [
        Document(
            id=f"{tenant}-{number}",
            title=subject,
            text=text,
            metadata={"tenant": tenant, "status": status, "product": product, "opened": opened},
        )
        for tenant, number, opened, status, product, subject, text in TICKETS
    ]


def show(heading: str, result: SearchResult) -> None:
    print(f"\n{heading}")
    for hit in result:
        print(f"  {hit.rank}. {hit.id}  {hit.metadata['opened']}  {hit.metadata['status']:6}  {hit.title}")


def main() -> None:
    question = " ".join(sys.argv[1:]) or "the export never finishes"
    with tempfile.TemporaryDirectory() as folder:
        service = Pipeline.build(
            documents(),
            path=Path(folder, "tickets"),
            fields={"opened": date},  # so that a filter compares dates, and a wrong date is refused
            indexed_fields=["tenant"],  # every search filters by it
        )
        acme = service.scoped({"tenant": "acme"})
        show("acme", acme.search(question, k=3))
        show("acme, only open ones", acme.search(question, k=3, filters={"status": "open"}))
        show(
            "acme, opened since 2024",
            acme.search(question, k=3, filters={"opened": {"$gte": date(2024, 1, 1)}}),
        )
        recency = Recency(field="opened", half_life=180, weight=0.5, now="2025-10-10")
        recent = acme.replace(adjust=[recency])
        show("acme, newer tickets preferred", recent.search(question, k=3))
        show("globex", service.scoped({"tenant": "globex"}).search(question, k=3))

        stolen = acme.search(question, filters={"tenant": "globex"})
        print(f"\nacme asks for globex's tickets: {len(stolen)} found")
        service.close()


if __name__ == "__main__":
    main()

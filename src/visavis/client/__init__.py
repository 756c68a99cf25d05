"""What the engine does, asked of a service over the network: the same calls, the same values.

::

    with Client("https://faces.example", key) as client:
        client.enroll("Ada", ["ada.jpg"])
        client.verify("door.jpg", "Ada").accepted

`AsyncClient` has the same calls to be awaited. What each call takes, answers and raises is told by
`visavis.client.calls.Calls`. Errors are those of `visavis.errors`: what the service refuses is
raised here as the very class that its code names; what cannot be asked or understood is a
`ServiceUnreachable`.

An answer holds what travels, and that is less than the engine knows:

- Numbers are rounded: distances to six digits, places in the picture to a tenth of a pixel.
- Of people whom `identify` recognises only the name is told; their ``id`` is empty, so ask
  `person` for the rest by name.
- Of the templates that `enroll` added only their number is told: ``added`` is as long as it should
  be, and its ids are empty.
- `identify` does not tell whether its tau is extrapolated; `operating_points` does.
"""

from visavis.client.asynchronous import AsyncClient
from visavis.client.sync import Client

__all__ = ["AsyncClient", "Client"]

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
- Of people whom `identify` recognises name and id are told; `person` gives the rest.
"""

from visavis.client.asynchronous import AsyncClient
from visavis.client.sync import Client

__all__ = ["AsyncClient", "Client"]

"""Whether a dial may still be asked for, right before the carrier is asked."""

from dataclasses import replace

from calls.outbound import Claim
from campaigns.carrier import DialWithdrawnError
from campaigns.claiming import contact_opens_s
from campaigns.dialer_parts import DialerParts
from campaigns.model import Campaign


async def confirm_claim(campaign: Campaign, claim: Claim, parts: DialerParts) -> Claim:
    """Return a claim whose carrier may be asked now, with the moment at which that was said.

    Raises:
        DialWithdrawnError: It may not, for the store's reason or for `window_closed`, and the dial
            is not ours any more: one outside the contact's hours is given back until they open.
        StorageError: Nobody knows.
    """
    lease_s = parts.settings.lease_s
    if why := await parts.store.confirm(claim.dial, now=parts.now_s(), lease_s=lease_s):
        raise DialWithdrawnError(why)
    now = parts.now_s()
    opens_s = contact_opens_s(campaign, claim.contact, now)
    if opens_s is None or opens_s > now:
        # Where they never open the next claim finds that, too, and keeps the contact out.
        await parts.store.release(claim.dial, due_s=opens_s or now)
        raise DialWithdrawnError("window_closed")
    return replace(claim, dial=replace(claim.dial, confirmed_s=now))

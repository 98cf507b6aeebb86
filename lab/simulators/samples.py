"""Sound in the lab: what all its parts mean by samples."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.int16]
"""Linear samples, mono; the rate goes beside them."""

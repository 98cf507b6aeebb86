"""The lab's type for sound."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.int16]
"""Linear samples, mono; the rate is passed separately."""

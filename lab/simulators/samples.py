"""The lab's type for audio samples."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.int16]
"""Linear 16-bit samples, mono; their rate is passed separately."""

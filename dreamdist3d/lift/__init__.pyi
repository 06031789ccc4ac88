from .field import Field as Field
from .optimize import lift as lift, load_field as load_field
from .outputs import render_silhouettes as render_silhouettes, save_views as save_views
